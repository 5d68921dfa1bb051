//! HTTP/2 connections.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use foldhash::fast::RandomState;
use futures_util::future::join_all;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::app::App;
use super::arriving::Arriving;
use super::front::{Carrier, Front};
use super::oversized::Written;
use super::stall::Watched;
use super::streams::{Open, Streams};
use crate::config::Limits;
use crate::http::rejection::Rejection;
use crate::net::stream::Stream;

/// How long a connection stays after GOAWAY with no request in progress.
const PARTING: Duration = Duration::from_secs(2);
/// The maximum number of streams reset by the client before they are served, at a time.
const MOST_RESETS: usize = 32;
/// The maximum number of streams per connection that are reset here: malformed requests, and those
/// beyond `limits.streams`. Until a client has read the settings, it may open as many as it likes
/// (RFC 9113 §6.5.2, §5.1.2). If a burst ended the connection, the requests in progress would be
/// lost with it.
const MOST_REFUSED: usize = 1024;
/// The announced maximum header list size if `limits.header_bytes` is less, because each cookie
/// crumb counts separately in it.
const LEAST_HEADER_LIST: usize = 16 << 10;
/// The maximum number of response bytes buffered per request while the network is busy.
const SEND_BUFFER: usize = 64 << 10;
/// The windows of a connection whose address already has many (RFC 9113 §6.9.2).
const LEAST_WINDOW: u32 = 65_535;
/// The factor by which a header list may exceed `limits.header_bytes` in h2, which passes nothing of
/// a longer one on. Of a list that is slightly too long, the log shows the request line.
const HEADER_LISTS: usize = 4;
/// The maximum frame size in bytes, the minimum that RFC 9113 §6.5.2 allows.
const FRAME: u32 = 16 << 10;
/// The number of bytes that show that a client speaks HTTP/2: the preface and a frame header (RFC
/// 9113 §3.4, §4.1).
const BEGUN: usize = 24 + 9;

/// Serves a connection until its client closes it, it has been idle too long, or `shutdown`
/// resolves and the requests in progress are complete. By `deadline` the client must have shown
/// that it speaks HTTP/2.
pub(super) async fn serve<A: App>(
    front: Arc<Front<A>>,
    stream: Stream,
    mut shutdown: ShutdownWatch,
    deadline: Instant,
) {
    let (limits, timeouts) = {
        let settings = front.client.settings.load();
        (settings.limits, settings.timeouts)
    };
    let streams = Arc::new(Streams::default());
    let tasks = Tasks {
        running: Arc::default(),
        write: timeouts.write,
    };
    let _parting = Parting(Arc::clone(&tasks.running));
    let stream = Counted {
        stream,
        read: 0,
        arriving: Arriving::default(),
        written: Written::default(),
        streams: Arc::clone(&streams),
    };
    let (serving, counting) = (Arc::clone(&front), Arc::clone(&streams));
    let service = service_fn(move |request: Request<Incoming>| {
        let open = Open::new(&counting);
        // Boxed, because hyper and tokio move the future of a stream about ten times.
        Box::pin(Arc::clone(&serving).handle(request, Carrier::Two { open }))
    });
    let windows = match front.client.is_of_few() {
        true => (limits.stream_window, limits.connection_window),
        false => (LEAST_WINDOW, LEAST_WINDOW),
    };
    let builder = builder(&limits, windows, tasks.clone());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let begun = async {
        while streams.begun.load(Ordering::Relaxed) == 0 {
            streams.changed.notified().await;
        }
    };
    tokio::select! {
        biased;
        _ = connection.as_mut() => return log_oversized(&front, &streams),
        begun = tokio::time::timeout_at(deadline, begun) => if begun.is_err() {
            tracing::debug!("the HTTP/2 handshake timed out");
            return;
        },
    }
    let late = late(&streams, timeouts.header);
    tokio::pin!(late);
    let mut is_ending = false;
    loop {
        let idle = async {
            loop {
                while streams.open.load(Ordering::Relaxed) > 0 {
                    streams.changed.notified().await;
                }
                sleep(if is_ending {
                    PARTING
                } else {
                    timeouts.keep_alive
                })
                .await;
                // A request that came meanwhile may still be in progress.
                if streams.open.load(Ordering::Relaxed) == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "an HTTP/2 connection failed");
                }
                break;
            }
            _ = shutdown.wait_for(|&draining| draining), if !is_ending => {
                connection.as_mut().graceful_shutdown();
                is_ending = true;
            }
            () = idle => {
                if is_ending {
                    break;
                }
                connection.as_mut().graceful_shutdown();
                is_ending = true;
            }
            () = late.as_mut() => {
                tracing::debug!("a frame came too slowly");
                break;
            }
            () = streams.changed.notified() => {}
        }
        log_oversized(&front, &streams);
    }
    log_oversized(&front, &streams);
    // Handlers detect the end of the connection by themselves, and log how their request ended. One
    // that waits for a peer to take a body would not, so it is dropped.
    let running = std::mem::take(&mut tasks.running.lock().tasks);
    let ended = join_all(running.into_values());
    if timeout(PARTING, ended).await.is_err() {
        tracing::debug!("dropped the requests of a client that has disconnected");
    }
}

/// Resolves when a frame that is not DATA, or a header block, has taken longer than `most`.
async fn late(streams: &Streams, most: Duration) {
    loop {
        let since = *streams.partial.since.lock();
        match since.map(|since| since + most) {
            None => streams.partial.began.notified().await,
            Some(end) if end <= Instant::now() => return,
            Some(end) => sleep_until(end).await,
        }
    }
}

/// Logs the requests that h2 has rejected because of their header lists.
fn log_oversized<A: App>(front: &Front<A>, streams: &Streams) {
    for _ in 0..streams.oversized.swap(0, Ordering::Relaxed) {
        let mut parts = Request::new(()).into_parts().0;
        parts.version = Version::HTTP_2;
        // h2 has sent the response.
        let _ = front
            .app
            .reject(Rejection::HeaderLength, &parts, &front.peer);
    }
}

fn builder(
    limits: &Limits,
    (stream_window, connection_window): (u32, u32),
    tasks: Tasks,
) -> http2::Builder<Tasks> {
    let list = (limits.header_bytes * HEADER_LISTS).max(LEAST_HEADER_LIST);
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.streams)
        .max_send_buf_size(SEND_BUFFER)
        .max_frame_size(FRAME)
        .adaptive_window(false)
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(MOST_REFUSED)
        // A client that is gone is detected by `timeouts.write` and `timeouts.keep_alive`.
        .keep_alive_interval(None);
    builder
}

/// Spawns hyper's tasks for each stream.
#[derive(Clone)]
struct Tasks {
    running: Arc<Mutex<Running>>,
    write: Duration,
}

/// The tasks of a connection that have not ended, by their number.
#[derive(Default)]
struct Running {
    last: u64,
    tasks: HashMap<u64, AbortOnDropHandle<()>, RandomState>,
}

/// Ends the tasks that have not ended when it is dropped.
struct Parting(Arc<Mutex<Running>>);

impl Drop for Parting {
    fn drop(&mut self) {
        let running = std::mem::take(&mut self.0.lock().tasks);
        // Outside of the lock, which the end of a task takes.
        drop(running);
    }
}

/// Removes its task from those that have not ended when it is dropped.
struct Ending {
    running: Arc<Mutex<Running>>,
    number: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let task = self.running.lock().tasks.remove(&self.number);
        // It is ending.
        task.map(AbortOnDropHandle::detach);
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + Unpin + 'static,
{
    fn execute(&self, sending: F) {
        let number = {
            let mut running = self.running.lock();
            running.last += 1;
            running.last
        };
        let ending = Ending {
            running: Arc::clone(&self.running),
            number,
        };
        // It runs later, on this thread.
        let task = tokio::spawn(Watched::new(sending, self.write, ending));
        let task = AbortOnDropHandle::new(task);
        self.running.lock().tasks.insert(number, task);
    }
}

/// The connection as hyper sees it.
struct Counted {
    stream: Stream,
    /// The number of received bytes, up to [`BEGUN`].
    read: usize,
    arriving: Arriving,
    written: Written,
    streams: Arc<Streams>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() && self.arriving.is_partial() {
            self.streams.partial.wait();
        }
        ready!(read)?;
        if self
            .arriving
            .pass(buffer.filled().get(before..).unwrap_or_default())
        {
            self.streams.partial.end();
        }
        if self.read < BEGUN {
            self.read += buffer.filled().len() - before;
            if self.read >= BEGUN {
                self.streams.begun.store(1, Ordering::Relaxed);
                self.streams.changed.notify_one();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Counted {
    fn wrote(&mut self, bytes: &[u8]) {
        let oversized = self.written.pass(bytes);
        if oversized > 0 {
            self.streams
                .oversized
                .fetch_add(oversized, Ordering::Relaxed);
            self.streams.changed.notify_one();
        }
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.wrote(bytes.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, parts))?;
        let mut left = written;
        for part in parts {
            let taken = left.min(part.len());
            self.wrote(part.get(..taken).unwrap_or_default());
            left -= taken;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn tasks_are_kept_until_they_end() {
        let tasks = Tasks {
            running: Arc::default(),
            write: Duration::MAX,
        };
        let kept = || tasks.running.lock().tasks.len();
        tasks.execute(ready(()));
        tasks.execute(pending());
        assert_eq!(kept(), 2);
        tokio::task::yield_now().await;
        assert_eq!(kept(), 1);
    }

    #[tokio::test]
    async fn tasks_end_with_their_connection() {
        let running = Arc::default();
        let tasks = Tasks {
            running: Arc::clone(&running),
            write: Duration::MAX,
        };
        let held = Arc::new(());
        let sending = Arc::clone(&held);
        tasks.execute(Box::pin(async move {
            pending::<()>().await;
            drop(sending);
        }));
        tokio::task::yield_now().await;
        drop(Parting(running));
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
