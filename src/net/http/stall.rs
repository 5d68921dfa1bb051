//! Write timeouts of HTTP/2 responses. hyper waits for the client's window without a limit.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

tokio::task_local! {
    /// When the client was first offered the current part of this task's response; `None` if there
    /// is none.
    static SINCE: Cell<Option<Instant>>;
}

/// Records that hyper has a part of this task's response that the client must take, or waits for
/// one.
pub(super) fn passed(is_part: bool) {
    let now = is_part.then(Instant::now);
    // Outside of `watch` there is no value to set.
    let _ = SINCE.try_with(|since| since.set(now));
}

/// Sends a response. Fails if the client reads nothing for `write`.
pub(super) async fn watch(sending: impl Future<Output = ()>, write: Duration) {
    let mut sending = pin!(sending);
    // Made when it is first needed: most responses are sent at once.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let stopped = poll_fn(|context| {
        if sending.as_mut().poll(context).is_ready() {
            return Poll::Ready(false);
        }
        let Some(since) = SINCE.with(Cell::get) else {
            return Poll::Pending;
        };
        let end = since + write;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        ready!(timer.as_mut().poll(context));
        Poll::Ready(true)
    });
    if SINCE.scope(Cell::new(None), stopped).await {
        tracing::debug!("the client does not read the response: its stream is reset");
    }
}
