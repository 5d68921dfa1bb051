//! A connection that has switched to another protocol.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pingora::{Error, ErrorType, Result};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::net::http::{Reply, Tunnel as ClientTunnel};
use crate::net::stream::{Stream, poll_more};

/// The number of bytes read at a time.
const PART: usize = 8 << 10;

/// A connection that is switching or has switched protocols.
pub(super) struct Tunnel {
    state: State,
    /// The connection stays open until this is dropped.
    _held: oneshot::Sender<()>,
}

enum State {
    Opening(oneshot::Receiver<Stream>),
    /// Never locked: the mutex only makes the stream `Sync`.
    Open(Mutex<Stream>),
    Over,
}

impl Tunnel {
    /// Returns a tunnel and the reply that opens it.
    pub(super) fn new() -> (Self, Reply) {
        let (opened, opening) = oneshot::channel();
        let (held, over) = oneshot::channel::<()>();
        let tunnel = ClientTunnel::new(move |stream: Stream| async move {
            if opened.send(stream).is_ok() {
                // It ends when the other half is dropped.
                let _ = over.await;
            }
        });
        let state = State::Opening(opening);
        (Self { state, _held: held }, Reply::tunnel(tunnel))
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Returns the next bytes; `None` once the client has closed its side. Cancel-safe.
    ///
    /// # Errors
    /// The connection has failed.
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>> {
        let Some(stream) = self.open().await? else {
            return Ok(None);
        };
        let mut part = Bytes::new();
        let read = std::future::poll_fn(|context| {
            poll_more::<PART, _>(&mut *stream, context, PART, |read| {
                part = Bytes::copy_from_slice(read);
            })
        });
        match read.await {
            Ok(1..) => Ok(Some(part)),
            Ok(0) => {
                self.state = State::Over;
                Ok(None)
            }
            Err(_) => Err(Error::explain(ErrorType::ReadError, "the client is gone").into_down()),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The client has disconnected, or accepts nothing for `limit`.
    pub(super) async fn write(&mut self, mut part: &[u8], limit: Duration) -> Result<()> {
        let gone = || Error::explain(ErrorType::WriteError, "the client is gone").into_down();
        let late = |_| {
            let text = "the client does not read";
            Error::explain(ErrorType::WriteTimedout, text).into_down()
        };
        let stream = self.open().await?.ok_or_else(gone)?;
        while !part.is_empty() {
            let written = timeout(limit, stream.write(part)).await.map_err(late)?;
            match written {
                Ok(written @ 1..) => part = part.get(written..).unwrap_or_default(),
                Ok(0) | Err(_) => return Err(gone()),
            }
        }
        let flushed = timeout(limit, stream.flush()).await.map_err(late)?;
        flushed.map_err(|_| gone())
    }

    /// Closes our side.
    pub(super) async fn end(&mut self) {
        if let State::Open(stream) = &mut self.state {
            // The client may have disconnected.
            let _ = stream.get_mut().shutdown().await;
        }
        self.state = State::Over;
    }

    async fn open(&mut self) -> Result<Option<&mut Stream>> {
        if let State::Opening(opening) = &mut self.state {
            let stream = opening.await.map_err(|_| {
                Error::explain(ErrorType::ConnectionClosed, "the client is gone").into_down()
            })?;
            self.state = State::Open(Mutex::new(stream));
        }
        Ok(match &mut self.state {
            State::Open(stream) => Some(stream.get_mut()),
            State::Opening(_) | State::Over => None,
        })
    }
}
