//! A listening socket: accepts connections on the first loop, and at shutdown those that the kernel has queued.
//!
//! The kernel completes handshakes by itself and queues the connections. When the socket is closed, it resets every
//! connection in the queue and every handshake that is not complete.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pingora::server::ShutdownWatch;
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::admission::Counted;
use super::loops::{Loops, Place};

/// How long to wait after an error that may pass, such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How long to wait at shutdown for handshakes to complete.
const HALF_WAY: Duration = Duration::from_millis(100);
/// The most connections that are taken from the queue at shutdown. It may be that long (`somaxconn`).
const QUEUED: usize = 65_536;

/// How many bytes the kernel takes before they can be sent (`TCP_NOTSENT_LOWAT`). It takes more when half of them
/// have been sent. By default, it takes more when a third of the send buffer is free, which can be megabytes: a client
/// that reads slowly would look like one that reads nothing.
const UNSENT: u32 = 128 << 10;

/// A listening socket.
pub(crate) struct Incoming(TcpListener);

impl Incoming {
    /// Registers a socket with the loop that accepts.
    ///
    /// # Errors
    /// The system has no resources left.
    pub(crate) fn new(listener: std::net::TcpListener, loops: &Loops) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Connections inherit it.
        SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT)?;
        let _entered = loops.accepting().handle().enter();
        TcpListener::from_std(listener).map(Self)
    }

    /// Passes on connections until the shutdown begins.
    pub(super) async fn take(
        &self,
        mut draining: ShutdownWatch,
        begin: &impl Fn(TcpStream, SocketAddr),
    ) {
        let draining = async move { drop(draining.wait_for(|&draining| draining).await) };
        tokio::pin!(draining);
        loop {
            tokio::select! {
                accepted = self.0.accept() => match accepted {
                    Ok((stream, peer)) => begin(stream, peer),
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection failed");
                        if !is_of_one_connection(&error) {
                            sleep(ACCEPT_AGAIN).await;
                        }
                    }
                },
                () = &mut draining => return,
            }
        }
    }

    /// Passes on the connections that are in the queue when the socket is about to be closed. If no other process
    /// holds the socket, new clients are kept out first.
    pub(super) async fn take_last(
        &self,
        is_inherited: bool,
        begin: &impl Fn(TcpStream, SocketAddr),
    ) {
        if !is_inherited {
            match self.drop_new() {
                Ok(()) => {
                    let half_way = async {
                        while let Ok((stream, peer)) = self.0.accept().await {
                            begin(stream, peer);
                        }
                    };
                    // It ends by the timeout. The queue holds the rest.
                    let _ = timeout(HALF_WAY, half_way).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "clients that connect while a listener is closed may be reset");
                }
            }
        }
        let queued = std::iter::from_fn(|| self.queued().ok());
        for (stream, peer) in queued.take(QUEUED) {
            begin(stream, peer);
        }
    }

    /// Takes a connection from the queue. Tokio's `accept` cannot: it waits until the event loop has polled the socket.
    fn queued(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = SockRef::from(&self.0).accept()?;
        socket.set_nonblocking(true)?;
        let peer = peer.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok((TcpStream::from_std(socket.into())?, peer))
    }

    /// Drops the first packet of every new handshake. Handshakes under way complete. A client sends the packet again
    /// after a second, and is refused then unless another process listens.
    ///
    /// The filter applies to every process that holds the socket, so no other process may serve it.
    ///
    /// # Errors
    /// The system does not allow it.
    fn drop_new(&self) -> io::Result<()> {
        // A classic BPF filter: load a byte, mask it, compare it, return how many bytes of the packet to keep. For a
        // TCP socket the packet begins with the TCP header, whose flags are in byte 13 (RFC 9293 section 3.1).
        const SYN: u32 = 0x02;
        const ACK: u32 = 0x10;
        let filter = [
            SockFilter::new(0x30, 0, 0, 13),
            SockFilter::new(0x54, 0, 0, SYN | ACK),
            SockFilter::new(0x15, 0, 1, SYN),
            SockFilter::new(0x06, 0, 0, 0),
            SockFilter::new(0x06, 0, 0, u32::MAX),
        ];
        SockRef::from(&self.0).attach_filter(&filter)
    }
}

/// A connection of a front proxy that is sent to its loop.
pub(crate) struct FromFrontProxy {
    pub(crate) stream: TcpStream,
    pub(crate) counted: Counted,
    pub(crate) place: Place,
}

/// Moves a connection to the loop that this is called on, which is the loop of its place.
///
/// # Errors
/// The client has closed it, or the system has no resources left.
pub(crate) fn adopt(stream: TcpStream, place: &Place) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    if place.is_accepting() {
        return Ok(stream);
    }
    TcpStream::from_std(stream.into_std()?)
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
