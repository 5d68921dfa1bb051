//! Connections: listeners, how a connection begins, its bounds and deadlines, HTTP/1 and HTTP/2 on hyper.

pub(crate) mod accept;
pub(crate) mod admission;
pub(crate) mod bounds;
mod client;
pub(crate) mod connection;
pub(crate) mod delegate;
pub(crate) mod descriptors;
pub(crate) mod http;
pub(crate) mod incoming;
pub(crate) mod listeners;
pub(crate) mod loops;
pub(crate) mod metrics;
mod process;
mod rejected;
pub(crate) mod request_line;
pub(crate) mod serve;
pub(crate) mod settings;
pub(crate) mod stream;
pub(crate) mod tls_fault;

use std::net::SocketAddr;

use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;

/// Returns the address that attempts are counted for.
pub(crate) fn source_of(session: &ServerSession) -> Option<std::net::IpAddr> {
    peer_of(session).map(|peer| peer.ip().to_canonical())
}

/// Returns the address of a client; `None` over a Unix socket.
pub(crate) fn peer_of(session: &ServerSession) -> Option<SocketAddr> {
    session.client_addr()?.as_inet().copied()
}

/// Runs blocking work on a blocking thread. Propagates its panic.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only work that has not begun is cancelled, when the process ends.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Returns the undecoded path without the query; of a target in absolute form, its path.
pub(crate) fn path_of(header: &RequestHeader) -> &[u8] {
    let raw = header.raw_path();
    let is_absolute_form = ["http://", "https://"].iter().any(|scheme| {
        raw.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    });
    if is_absolute_form && header.raw_path_is_utf8() {
        return header.uri.path().as_bytes();
    }
    raw.split(|&byte| byte == b'?').next().unwrap_or_default()
}
