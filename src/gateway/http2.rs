//! A connection of HTTP/2: many requests at a time.

use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{self, H2Accept, HttpSession};
use pingora::protocols::{Digest, Stream};
use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;

/// How many malformed requests a connection may bring: each is refused for itself, and costs work.
const MOST_MALFORMED: usize = 32;

/// Serves a connection until its client ends it, nothing has been asked for `idle`, or `shutdown` comes
/// and what had begun by then is done. Says `begun` once the client has shown that it speaks HTTP/2.
pub(super) async fn serve<A: HttpServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    stream: Stream,
    mut shutdown: ShutdownWatch,
    idle: Duration,
    begun: impl FnOnce(),
) {
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    // Without options it takes bounded ones: 64 KiB of fields, 100 requests at a time.
    let mut connection = match server::handshake(stream, None).await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::debug!(%error, "no HTTP/2");
            return;
        }
    };
    begun();
    let watch = shutdown.clone();
    let mut requests = JoinSet::new();
    let mut malformed = 0;
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|&draining| draining), if !draining => {
                connection.graceful_shutdown();
                draining = true;
            }
            // Cancelling it loses nothing.
            next = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => match next {
                Ok(Some(H2Accept::Session(session))) => {
                    let (app, watch) = (Arc::clone(app), watch.clone());
                    requests.spawn(async move {
                        let session = ServerSession::new_http2(session);
                        app.process_new_http(session, &watch).await;
                    });
                }
                Ok(Some(H2Accept::Rejected)) => {
                    malformed += 1;
                    if malformed > MOST_MALFORMED {
                        tracing::debug!("too many malformed requests");
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "a connection of HTTP/2 failed");
                    break;
                }
            },
            Some(_) = requests.join_next() => {}
            () = tokio::time::sleep(idle), if requests.is_empty() && !draining => break,
        }
    }
    // What runs finds out by itself that nobody listens any more, and notes how it ended.
    while requests.join_next().await.is_some() {}
}
