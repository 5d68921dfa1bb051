//! Connections for upgrades: the response is not read before the request is complete.
//!
//! Pingora 0.9.1: a request for an upgrade has no body. If Pingora reads the 101 before it has
//! processed the end of that body, it mistakes that end for the end of the upgraded connection, and
//! closes it. It flushes once after the header and once at the end of the body, so reading waits
//! for the second flush. Such connections are never pooled. This can go when Pingora's issue 946 is
//! closed and `proxy::web_socket` in tests/it passes without it, on a busy machine too.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::task::AtomicWaker;
use pingora::connectors::L4Connect;
use pingora::protocols::ALPN;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::net::delegate::delegate_write;

/// One flush after the header, one after the end of the body.
const FLUSHES: u8 = 2;

/// Delays reading the response.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The number of flushes until reading is allowed.
    left: AtomicU8,
    reader: AtomicWaker,
}

impl Gate {
    /// Sets a gate for the next connection to a peer; `None` if the peer speaks only HTTP/2.
    pub(crate) fn on(peer: &mut HttpPeer) -> Option<Arc<Self>> {
        if peer.options.alpn == ALPN::H2 {
            return None;
        }
        // HTTP/2 has no upgrades.
        peer.options.set_http_version(1, 1);
        // Only requests with a gate have this group key, and such connections expire at once, so
        // none is pooled.
        peer.group_key = !peer.group_key;
        peer.options.idle_timeout = Some(Duration::ZERO);
        let gate = Arc::new(Self::default());
        peer.options.custom_l4 = Some(Arc::new(Gated(Arc::clone(&gate))));
        Some(gate)
    }

    /// Closes the gate, before the request is written.
    pub(crate) fn close(&self) {
        self.left.store(FLUSHES, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    fn flushed(&self) {
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
        }
        if left == 1 {
            self.reader.wake();
        }
    }
}

/// Connects, and adds the gate to the connection.
#[derive(Debug)]
struct Gated(Arc<Gate>);

#[async_trait]
impl L4Connect for Gated {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let connected = match address {
            SocketAddr::Inet(address) => TcpStream::connect(address).await.and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(self.keep(stream))
            }),
            SocketAddr::Unix(address) => match address.as_pathname() {
                Some(path) => UnixStream::connect(path).await.map(|it| self.keep(it)),
                None => Err(ErrorKind::AddrNotAvailable.into()),
            },
        };
        connected.map_err(|error| {
            let kind = match error.kind() {
                ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                _ => ErrorType::ConnectError,
            };
            Error::because(kind, "connecting for an upgrade", error)
        })
    }
}

impl Gated {
    fn keep<S>(&self, stream: S) -> Stream
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug + 'static,
    {
        let gate = Arc::clone(&self.0);
        VirtualSocketStream::new(Box::new(Kept { stream, gate })).into()
    }
}

/// A stream that is readable only while its gate is open.
#[derive(Debug)]
struct Kept<S> {
    stream: S,
    gate: Arc<Gate>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Kept<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.gate.is_open() {
            self.gate.reader.register(context.waker());
            if !self.gate.is_open() {
                return Poll::Pending;
            }
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Kept<S> {
    delegate_write!(stream, but_flush);

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.gate.flushed();
        }
        flushed
    }
}

impl<S> VirtualSocket for Kept<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug,
{
    /// Ignored: `connect` has set these options.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn response_is_read_after_the_second_flush() {
        let gate = Arc::new(Gate::default());
        let (near, mut far) = tokio::io::duplex(64);
        let (mut reader, mut writer) = tokio::io::split(Kept {
            stream: near,
            gate: Arc::clone(&gate),
        });
        far.write_all(b"ab").await.unwrap();
        // Open, as during the TLS handshake.
        writer.flush().await.unwrap();
        assert_eq!(reader.read_u8().await.unwrap(), b'a');
        gate.close();
        let heard = tokio::spawn(async move { reader.read_u8().await.unwrap() });
        for _ in 0..FLUSHES {
            yield_now().await;
            assert!(!heard.is_finished());
            writer.flush().await.unwrap();
        }
        assert_eq!(heard.await.unwrap(), b'b');
    }
}
