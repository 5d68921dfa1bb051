//! The HTTP face of a listener: HTTP/1.1 and HTTP/2 by hyper, with the limits and deadlines of realmgate.
//!
//! A connection gets here after its PROXY header and TLS. [`http1`] lets hyper serve it through [`checked`], which
//! passes on one request at a time; [`http2`] counts streams. [`front`] does for each request what both have in
//! common, and asks the [`App`].

#![expect(
    dead_code,
    unused_imports,
    reason = "some of it is for the listener of the proxy, which is still on Pingora's sessions"
)]

mod app;
mod body;
mod checked;
mod chunks;
mod front;
mod head;
mod http1;
mod http2;
mod interim;
mod peer;
mod reply;
mod stall;
mod streams;
mod tunnel;
mod watch;

use std::sync::Arc;

use pingora::server::ShutdownWatch;
use tokio::time::Instant;

pub(crate) use app::{App, Asked};
pub(crate) use body::{Body, BodyError};
use front::Front;
pub(crate) use interim::Interim;
pub(crate) use peer::Peer;
pub(crate) use reply::{Abort, Reply};
pub(crate) use tunnel::Tunnel;

use super::accept::Http;
use super::client::Client;
use super::process::Process;
use super::stream::Stream;

/// Serves a connection. The client must have sent its first header, or the preface of HTTP/2, by `deadline`.
pub(super) async fn serve<A: App>(
    app: Arc<A>,
    (stream, http): (Stream, Http),
    (client, peer, process): (Client, Peer, Arc<Process>),
    (shutdown, deadline): (ShutdownWatch, Instant),
) {
    let front = Arc::new(Front {
        app,
        client,
        peer: Arc::new(peer),
        process,
    });
    match http {
        Http::One => http1::serve(front, stream, &shutdown, deadline).await,
        Http::Two => http2::serve(front, stream, shutdown, deadline).await,
    }
}
