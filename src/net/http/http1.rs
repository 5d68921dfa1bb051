//! HTTP/1 connections.
//!
//! hyper serves a connection while requests arrive. Its buffers take 16 KiB, so an idle connection
//! waits without hyper after a while, also for the rest of a header that has begun.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::request::{Parts, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::app::App;
use super::checked::Checked;
use super::front::{Carrier, Front};
use super::head::{Found, Scan};
use super::shared::Shared;
use super::watch::{End, PARK, Watch};
use crate::config::Timeouts;
use crate::http::rejection::Rejection;
use crate::net::client::LINGER;
use crate::net::stream::{PART, Stream, poll_more};

/// The number of fields for which hyper does not allocate.
const FIELDS: usize = 100;
/// How often hyper may continue before other connections have their turn. A client can send chunks
/// of a byte, or short requests, faster than they are processed.
const TURNS: usize = 8;
/// The maximum number of fields parsed of a rejected header.
const MOST_FIELDS: usize = 256;

/// Serves a connection until its client closes it, or a request is not complete in time. `deadline`
/// is that of the first one.
pub(super) async fn serve<A: App>(
    front: Arc<Front<A>>,
    mut stream: Stream,
    shutdown: &ShutdownWatch,
    deadline: Instant,
) {
    let mut first = Some(deadline);
    loop {
        let until = match first {
            Some(deadline) => deadline,
            None => Instant::now() + timeouts(&front).keep_alive.saturating_sub(PARK),
        };
        let begun = tokio::select! {
            biased;
            begun = timeout_at(until, begun(&mut stream)) => begun,
            // No request has been received yet.
            () = ended(shutdown) => Ok(false),
        };
        if begun != Ok(true) {
            return Box::pin(close(stream, &timeouts(&front))).await;
        }
        let deadline = match first.take() {
            Some(deadline) => deadline,
            None => Instant::now() + timeouts(&front).header,
        };
        if timeout_at(deadline, complete(&mut stream, &front))
            .await
            .is_err()
        {
            tracing::debug!("the request header came too slowly");
            return Box::pin(linger(stream, &front)).await;
        }
        let shared = Arc::new(Shared::default());
        let settings = Arc::clone(&front.client.settings);
        let checked = Checked::new(stream, A::ENDS_WITH_CLIENT, Arc::clone(&shared), settings);
        // Boxed, as are the ends of a connection: an idle one does not keep room for them.
        let served = serve_some(&front, checked, &shared, deadline);
        let (end, checked, read) = Box::pin(served).await;
        let (mut taken, unread) = checked.into_parts();
        let tunnel = shared.lock().tunnel.take();
        match (end, tunnel) {
            (End::Closed, Some(tunnel)) => {
                taken.rewind([&read[..], &unread[..]].concat().into());
                return Box::pin(tunnel.run(taken)).await;
            }
            (End::Broken, _) => return,
            (End::Unparsed, _) => return Box::pin(linger(taken, &front)).await,
            (End::Idle, _) => {
                taken.rewind(unread.into());
                stream = taken;
            }
            (End::Closed, None) => {
                let is_read = unread.is_empty() && !shared.lock().is_in_body;
                return match is_read {
                    true => Box::pin(close(taken, &timeouts(&front))).await,
                    false => Box::pin(linger(taken, &front)).await,
                };
            }
            (End::Rejected, _) => {
                let rejection = shared.lock().rejected.take();
                if let Some(rejection) = rejection {
                    Box::pin(reject(taken, &front, rejection, &unread)).await;
                }
                return;
            }
        }
    }
}

fn timeouts<A>(front: &Front<A>) -> Timeouts {
    front.client.settings.load().timeouts
}

/// Waits for the first byte of a request, without reading it. Returns whether there is one.
async fn begun(stream: &mut Stream) -> bool {
    let mut bytes = Bytes::new();
    let read = std::future::poll_fn(|context| {
        poll_more::<PART, _>(stream, context, PART, |part| {
            bytes = Bytes::copy_from_slice(part);
        })
    });
    let is_begun = matches!(read.await, Ok(1..));
    stream.rewind(bytes);
    is_begun
}

/// Waits for the rest of a header, unless it is long or rejected already. Keeps it unread.
async fn complete<A>(stream: &mut Stream, front: &Front<A>) {
    let mut scan = Scan::default();
    let mut is_enough = |bytes: &[u8]| {
        let limits = &front.client.settings.load().limits;
        bytes.len() >= PART
            || scan.advance(bytes) != Found::Nowhere
            || scan
                .rejection(bytes, (bytes.len(), false), limits)
                .is_some()
    };
    if is_enough(stream.unread()) {
        return;
    }
    let mut bytes = Vec::from(stream.take_unread());
    loop {
        let read = std::future::poll_fn(|context| {
            let room = PART.saturating_sub(bytes.len());
            poll_more::<PART, _>(stream, context, room, |part| bytes.extend_from_slice(part))
        });
        if !matches!(read.await, Ok(1..)) || is_enough(&bytes) {
            return stream.rewind(bytes.into());
        }
    }
}

/// Resolves when connections that wait for a request must close.
async fn ended(shutdown: &ShutdownWatch) {
    let mut shutdown = shutdown.clone();
    // If the sender is gone, the process is ending.
    let _ = shutdown.wait_for(|&draining| draining).await;
    sleep(LINGER).await;
}

/// Lets hyper serve requests until none has arrived for a while. `deadline` is that of the first
/// header, which may be long.
async fn serve_some<A: App>(
    front: &Arc<Front<A>>,
    checked: Checked,
    shared: &Arc<Shared>,
    deadline: Instant,
) -> (End, Checked, Bytes) {
    let (serving, own) = (Arc::clone(front), Arc::clone(shared));
    let service = service_fn(move |request: Request<Incoming>| {
        own.lock().is_answering = true;
        Arc::clone(&serving).handle(request, Carrier::One(Arc::clone(&own)))
    });
    let mut builder = http1::Builder::new();
    builder
        .half_close(!A::ENDS_WITH_CLIENT)
        .keep_alive(true)
        // The deadlines are those of `Watch`.
        .header_read_timeout(None)
        .writev(A::WRITES_MUCH);
    let fields = front.client.settings.load().limits.header_fields;
    if fields > FIELDS {
        builder.max_headers(fields);
    }
    let mut connection = builder.serve_connection(TokioIo::new(checked), service);
    let now = Instant::now();
    let sleep = sleep_until(now + PARK);
    tokio::pin!(sleep);
    let (timeouts, drain_bytes) = {
        let settings = front.client.settings.load();
        (settings.timeouts, settings.limits.drain_bytes)
    };
    let mut watch = Watch::new(shared, (timeouts, drain_bytes), Some(deadline), now);
    let end = std::future::poll_fn(|context| {
        for _ in 0..TURNS {
            match Pin::new(&mut connection).poll(context) {
                Poll::Ready(Ok(())) => return Poll::Ready(End::Closed),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "an HTTP/1 connection failed");
                    return Poll::Ready(match error.is_parse() {
                        // hyper has responded.
                        true => End::Unparsed,
                        false => End::Broken,
                    });
                }
                Poll::Pending => {}
            }
            match watch.poll(context, sleep.as_mut()) {
                Poll::Ready(Some(end)) => return Poll::Ready(end),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        // Wakes this task behind those of other connections.
        pin!(yield_now()).poll(context).map(|()| End::Broken)
    });
    let end = end.await;
    let parts = connection.into_parts();
    (end, parts.io.into_inner(), parts.read_buf)
}

/// Closes a connection on which everything has been read.
async fn close(mut stream: Stream, timeouts: &Timeouts) {
    match timeout(timeouts.write, stream.shutdown()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the client closed the connection first"),
        Err(_) => tracing::debug!("the client does not read"),
    }
}

/// Closes a connection on which the client may still be sending. Closing a socket with unread bytes
/// resets the connection, and the response may be lost (RFC 9112 §9.6).
async fn linger<A: App>(mut stream: Stream, front: &Front<A>) {
    let (timeouts, most) = {
        let settings = front.client.settings.load();
        (settings.timeouts, settings.limits.drain_bytes)
    };
    if !matches!(timeout(timeouts.write, stream.shutdown()).await, Ok(Ok(()))) {
        tracing::debug!("the client disconnected");
        return;
    }
    let discard = async {
        let mut discarded = 0;
        while discarded <= most {
            let more = std::future::poll_fn(|context| {
                poll_more::<PART, _>(&mut stream, context, PART, |_| {})
            });
            match more.await {
                Ok(more @ 1..) => discarded += more,
                Ok(0) | Err(_) => return,
            }
        }
    };
    let _ = timeout(timeouts.drain, discard).await;
}

/// Responds to a request whose header is not passed to hyper.
async fn reject<A: App>(mut stream: Stream, front: &Front<A>, rejection: Rejection, header: &[u8]) {
    let answer = front.app.reject(rejection, &parts_of(header), &front.peer);
    let answer = answer.last_bytes();
    let write = timeouts(front).write;
    if matches!(timeout(write, stream.write_all(&answer)).await, Ok(Ok(()))) {
        linger(stream, front).await;
    }
}

/// Parses as much as possible of a rejected header, for the log.
fn parts_of(header: &[u8]) -> Parts {
    let mut parts = Request::new(()).into_parts().0;
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    // Keeps the parts parsed before an error.
    let _ = request.parse(header);
    let method = request.method.and_then(|it| it.parse().ok());
    parts.method = method.unwrap_or_default();
    let uri = request.path.and_then(|it| it.parse().ok());
    parts.uri = uri.unwrap_or_default();
    let host = request.headers.iter();
    let host = host.filter(|it| it.name.eq_ignore_ascii_case(HOST.as_str()));
    for field in host {
        if let Ok(value) = HeaderValue::from_bytes(field.value) {
            parts.headers.append(HOST, value);
        }
    }
    parts
}
