//! The end of a listener: whoever has connected by then is served, and not reset.
//!
//! The kernel completes connections on its own and queues them. It resets those that are in the queue, or half-way
//! into it, when the listener is closed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long those are waited for who have begun to connect.
const HALF_WAY: Duration = Duration::from_millis(100);
/// The most connections that are taken from a queue: it may be that long (`somaxconn`).
const QUEUED: usize = 65_536;

/// Passes on the connections that were made before a listener is closed. Where another process may hold the socket
/// as well, as systemd does, nobody is kept from connecting.
pub(super) async fn take_last(
    listener: &TcpListener,
    is_inherited: bool,
    begin: impl Fn((TcpStream, SocketAddr)),
) {
    if !is_inherited {
        match drop_new(listener) {
            Ok(()) => {
                let half_way = async {
                    while let Ok(stream) = listener.accept().await {
                        begin(stream);
                    }
                };
                // It ends with the time, and what is there then is in the queue.
                let _ = timeout(HALF_WAY, half_way).await;
            }
            Err(error) => {
                tracing::debug!(%error, "clients that connect while a listener is closed may be reset");
            }
        }
    }
    queued(listener).take(QUEUED).for_each(begin);
}

/// Drops what begins a connection from now on. Who is half-way gets in. Clients try again after a second, and are
/// refused then, unless somebody else listens.
///
/// To be called only on a socket that no other process serves: all of them have one filter.
///
/// # Errors
/// The system does not allow it.
fn drop_new(listener: &TcpListener) -> io::Result<()> {
    // Of a classic filter: a byte is loaded, masked, compared, and how much of the packet stays is returned. What
    // a TCP socket filters begins with the TCP header, whose flags are in byte 13 (RFC 9293 section 3.1).
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let filter = [
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x54, 0, 0, SYN | ACK),
        SockFilter::new(0x15, 0, 1, SYN),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&filter)
}

/// Takes what is in the queue now.
///
/// Not by Tokio's `accept`: it says that nothing is there until the event loop has heard of something.
fn queued(listener: &TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    std::iter::from_fn(move || {
        let (stream, peer) = SockRef::from(listener).accept().ok()?;
        let stream: std::net::TcpStream = stream.into();
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer.as_socket()?))
    })
}
