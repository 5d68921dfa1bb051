//! An HTTP/1 connection: one request after the other.

use std::sync::Arc;

use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tokio::time::{Instant, timeout, timeout_at};

use super::accept::{Ahead, NoHeader};
use super::client::{Client, LINGER};
use super::linger;
use crate::http::refusal::Refusal;
use crate::telemetry::RequestLine;

/// Serves a connection until its client closes it or a request header is not complete in time.
/// `deadline` applies to the first one.
pub(super) async fn serve<A: HttpServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    stream: Stream,
    shutdown: &ShutdownWatch,
    deadline: Instant,
    client: &Client,
) {
    let mut ahead = Ahead::new(stream);
    let mut deadline = Some(deadline);
    loop {
        let header = header(&mut ahead, deadline.take(), client);
        let is_here = tokio::select! {
            biased;
            is_here = header => is_here,
            // No request has begun.
            () = ended(shutdown) => return,
        };
        let entered = match is_here {
            Ok(()) => client.enter(),
            Err(NoHeader::TooLong) => Err(Refusal::HeaderLength),
            Err(NoHeader::TooMany) => Err(Refusal::FieldCount),
            Err(NoHeader::Gone) => return,
        };
        let entered = match entered {
            Ok(entered) => entered,
            Err(refusal) => {
                // The header has not been parsed.
                let answer = client.refuse(refusal, RequestLine::default());
                return linger::refuse(&mut ahead, answer, &client.settings()).await;
            }
        };
        let mut session = ahead.into_session();
        // Like Pingora; the app sets the real value.
        session.set_keepalive(Some(60));
        let reused = app.process_new_http(session, shutdown).await;
        drop(entered);
        // The other state is what was set above, and the state of pipelining, which is off.
        let Some((stream, _)) = reused.map(ReusedHttpStream::consume) else {
            return;
        };
        ahead = Ahead::new(stream);
    }
}

/// Waits for a header: until `deadline`, else `timeouts.keep_alive` for its first byte and
/// `timeouts.header` for the rest.
async fn header(
    ahead: &mut Ahead,
    deadline: Option<Instant>,
    client: &Client,
) -> Result<(), NoHeader> {
    let settings = client.settings();
    let (most, fields) = (settings.limits.header_bytes, settings.limits.header_fields);
    let timeouts = settings.timeouts;
    // A long wait must not keep old settings alive.
    drop(settings);
    let whole = match deadline {
        Some(deadline) => timeout_at(deadline, ahead.header(most, fields)).await,
        None => match timeout(timeouts.keep_alive, ahead.begun()).await {
            Ok(Ok(())) => timeout(timeouts.header, ahead.header(most, fields)).await,
            Ok(Err(gone)) => return Err(gone),
            Err(_) => return Err(NoHeader::Gone),
        },
    };
    whole.unwrap_or_else(|_| {
        tracing::debug!("the request header came too slowly");
        Err(NoHeader::Gone)
    })
}

/// Resolves when connections without a request are to be closed.
async fn ended(shutdown: &ShutdownWatch) {
    let mut shutdown = shutdown.clone();
    // If the sender is gone, the process is ending.
    let _ = shutdown.wait_for(|&draining| draining).await;
    tokio::time::sleep(LINGER).await;
}
