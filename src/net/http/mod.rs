//! The HTTP layer of a listener: HTTP/1.1 and HTTP/2 by hyper, with the limits and deadlines of
//! realmgate.
//!
//! A connection arrives here after its PROXY header and TLS. [`http1`] lets hyper serve it through
//! [`checked`], which passes on one request at a time; [`http2`] counts streams. [`front`] does the
//! common handling of each request, and calls the [`App`].

mod allowance;
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

use pingora::server::ShutdownWatch;
use tokio::time::Instant;

pub(crate) use allowance::Allowance;
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
use super::settings::KeepAlive;
use super::stream::Stream;

/// Serves a connection. By `deadline` the client must have sent its first header, or the HTTP/2
/// preface.
pub(super) async fn serve<A: App>(
    app: Arc<A>,
    (stream, http): (Stream, Http),
    (client, peer, process): (Client, Peer, Arc<Process>),
    (shutdown, deadline): (ShutdownWatch, Instant),
) {
    let KeepAlive { header, lines } = client.settings.load().keep_alive.clone();
    let front = Arc::new(Front {
        app,
        keep_alive: header,
        kept: lines,
        client,
        peer: Arc::new(peer),
        process,
    });
    match http {
        // Both are boxed, because otherwise each connection would have the size of the larger one.
        Http::One => Box::pin(http1::serve(front, stream, &shutdown, deadline)).await,
        Http::Two => Box::pin(http2::serve(front, stream, shutdown, deadline)).await,
    }
}
