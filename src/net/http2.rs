//! An HTTP/2 connection: concurrent requests.
//!
//! Pingora 0.9.1: its own loop (`apps/mod.rs`) waits for the client's first bytes without a limit,
//! starts requests that no shutdown waits for, and has one idle timeout for all connections. This
//! loop can go when Pingora's takes a deadline for the preface and a shutdown signal; `wire::http2`
//! in tests/it then passes.

use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{
    self, H2Accept, H2Options, HttpSession, default_h2_options,
};
use pingora::protocols::{Digest, Stream};
use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::body_clock;
use super::client::Client;
use super::request_line::request_line;
use super::settings::Settings;
use crate::config::Limits;
use crate::http::answer::Answer;

/// How long requests may continue after their connection has ended.
const PARTING: Duration = Duration::from_secs(2);

/// The maximum number of malformed requests on a connection. Each is rejected separately, and costs
/// work.
const MOST_MALFORMED: usize = 32;

/// The minimum header list size that is announced to clients, because h2 counts each crumb of a
/// cookie as a field. `limits.header_bytes` is checked later.
const LEAST_HEADER_LIST: usize = 16 << 10;
/// The maximum number of response bytes per request that are buffered while the network accepts no
/// more.
const SEND_BUFFER: usize = 64 << 10;

/// Serves a connection until its client closes it, it has been idle for `timeouts.keep_alive`, or
/// `shutdown` is signaled and its requests are done. The client must have completed the HTTP/2
/// preface by `deadline`.
pub(super) async fn serve<A: HttpServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    stream: Stream,
    mut shutdown: ShutdownWatch,
    deadline: Instant,
    client: &Client,
) {
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let Settings {
        limits, timeouts, ..
    } = *client.settings();
    let begun = server::handshake(stream, Some(options(&limits)));
    let mut connection = match timeout_at(deadline, begun).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::debug!(%error, "the HTTP/2 handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!("the HTTP/2 handshake timed out");
            return;
        }
    };
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
            // Cancel-safe.
            next = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => match next {
                Ok(Some(H2Accept::Session(session))) => match client.enter() {
                    Ok(entered) => {
                        let (app, watch) = (Arc::clone(app), watch.clone());
                        requests.spawn(async move {
                            let session = ServerSession::new_http2(session);
                            let served = async { drop(app.process_new_http(session, &watch).await) };
                            if !body_clock::watch(served, timeouts.read).await {
                                tracing::warn!(reason = "body_timeout", "the request body stopped: its stream is reset");
                            }
                            drop(entered);
                        });
                    }
                    Err(refusal) => {
                        let answer = client.refuse(refusal, request_line(session.req_header()));
                        refuse(session, answer);
                    }
                },
                Ok(Some(H2Accept::Rejected)) => {
                    malformed += 1;
                    if malformed > MOST_MALFORMED {
                        tracing::debug!("too many malformed requests");
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "an HTTP/2 connection failed");
                    break;
                }
            },
            Some(_) = requests.join_next() => {}
            () = tokio::time::sleep(timeouts.keep_alive), if requests.is_empty() && !draining => break,
        }
    }
    // Requests notice by themselves that the connection is gone, and log their end. One whose
    // upstream does not read its body would not notice, so it is dropped.
    let ended = async { while requests.join_next().await.is_some() {} };
    if timeout(PARTING, ended).await.is_err() {
        tracing::debug!("dropped requests of a disconnected client");
    }
}

/// Responds to a request without serving it.
fn refuse(mut session: HttpSession, answer: Answer) {
    let head = Box::new(answer.head());
    if let Err(error) = session.write_response_header(head, true) {
        tracing::debug!(error = error.etype().as_str(), "the client disconnected");
    }
}

fn options(limits: &Limits) -> H2Options {
    let mut options = default_h2_options();
    let list = limits.header_bytes.max(LEAST_HEADER_LIST);
    options
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.streams)
        .max_send_buffer_size(SEND_BUFFER);
    options
}
