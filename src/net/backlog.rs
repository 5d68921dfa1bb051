//! Closes a listener without resetting clients that have connected.
//!
//! The kernel completes connections by itself and queues them. When the listener is closed, it
//! resets those in the queue and those whose handshake is incomplete.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The wait for clients whose handshake has begun.
const HALF_WAY: Duration = Duration::from_millis(100);
/// The maximum number of connections taken from a queue, which is its maximum length (`somaxconn`).
const QUEUED: usize = 65_536;

/// Passes on the connections made before a listener is closed. If another process may have the
/// socket open too, as systemd does, no client is kept from connecting.
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
                // It ends with the timeout; connections made by then are in the queue.
                let _ = timeout(HALF_WAY, half_way).await;
            }
            Err(error) => {
                tracing::debug!(%error, "clients that connect while a listener is closed may be reset");
            }
        }
    }
    queued(listener).take(QUEUED).for_each(begin);
}

/// Drops the first packet of new connections, and lets handshakes in progress complete. Clients
/// retry after a second, and are then refused, unless another process listens.
///
/// Must be called only on a socket that no other process serves, because all of them share the
/// filter.
///
/// # Errors
/// The system does not support it.
fn drop_new(listener: &TcpListener) -> io::Result<()> {
    // A classic BPF filter: loads a byte, masks it, compares, and returns how much of the packet to
    // keep. The filter of a TCP socket sees the TCP header first, with the flags in byte 13 (RFC
    // 9293 §3.1).
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

/// Accepts the connections that are in the queue.
///
/// Not with Tokio's `accept`, which returns nothing until the event loop has seen an event.
fn queued(listener: &TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    std::iter::from_fn(move || {
        let (stream, peer) = SockRef::from(listener).accept().ok()?;
        let stream: std::net::TcpStream = stream.into();
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer.as_socket()?))
    })
}
