//! The HTTP layer of a listener: HTTP/1.1 and HTTP/2 by hyper, with the limits and deadlines of
//! realmgate.
//!
//! A connection arrives here after its PROXY header and TLS. [`http1`] lets hyper serve it through
//! [`checked`], which passes on one request at a time; [`http2`] counts streams. [`front`] does the
//! common handling of each request, and calls the [`App`].

mod app;
mod arriving;
mod body;
mod checked;
mod chunks;
mod front;
mod head;
mod http1;
mod http2;
mod inserted;
mod interim;
mod lines;
mod oversized;
mod peer;
mod reply;
mod shared;
mod stall;
mod streams;
mod tunnel;
mod watch;
mod writing;

use std::sync::Arc;

use http::header::HeaderValue;
use pingora::server::ShutdownWatch;
use tokio::time::Instant;

pub(crate) use app::{App, ClientRequest};
pub(crate) use body::{Body, BodyError};
use front::Front;
pub(crate) use head::Named;
#[cfg(any(test, fuzzing))]
pub use head::fuzz as fuzz_header;
pub(crate) use interim::Interim;
pub(crate) use lines::Template;
pub(crate) use peer::Peer;
pub(crate) use reply::{Abort, Reply, name_status};
pub(crate) use tunnel::Tunnel;

use super::accept::Http;
use super::client::Client;
use super::process::Process;
use super::stream::Stream;

/// The seconds by which the announced idle timeout of HTTP/1.1 is less than `timeouts.keep_alive`.
const MARGIN: u64 = 1;

/// Serves a connection. By `deadline` the client must have sent its first header, or the HTTP/2
/// preface.
pub(super) async fn serve<A: App>(
    app: Arc<A>,
    (stream, http): (Stream, Http),
    (client, peer, process): (Client, Peer, Arc<Process>),
    (shutdown, deadline): (ShutdownWatch, Instant),
) {
    let keep_alive = client.settings.load().timeouts.keep_alive.as_secs();
    // Clients such as Node's use a connection until the last moment that is announced. Their
    // request would be lost if the connection closed in the same moment.
    let announced = keep_alive.saturating_sub(MARGIN).max(1);
    let kept = format!("connection: keep-alive\r\nkeep-alive: timeout={announced}\r\n");
    let keep_alive = HeaderValue::from_str(&format!("timeout={announced}"));
    let front = Arc::new(Front {
        app,
        keep_alive: keep_alive.unwrap_or(HeaderValue::from_static("timeout=60")),
        kept: kept.into(),
        client,
        peer: Arc::new(peer),
        process,
    });
    match http {
        Http::One => http1::serve(front, stream, &shutdown, deadline).await,
        Http::Two => http2::serve(front, stream, shutdown, deadline).await,
    }
}
