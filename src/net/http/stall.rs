//! Write timeouts of HTTP/2 responses. hyper waits for the client's window without a limit.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
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
    // Outside of [`Watched`] there is no value to set.
    let _ = SINCE.try_with(|since| since.set(now));
}

/// Sends a response. Ends early if the client reads nothing for a given time.
///
/// A structure, because the future of an async function would hold the response twice, and tokio
/// moves it several times.
pub(super) struct Watched<F, H> {
    sending: F,
    write: Duration,
    /// The value of [`SINCE`] between two polls.
    since: Option<Instant>,
    /// Made when it is first needed: most responses are sent at once.
    timer: Option<Pin<Box<Sleep>>>,
    /// Dropped at the end.
    _held: H,
}

impl<F, H> Watched<F, H> {
    pub(super) const fn new(sending: F, write: Duration, held: H) -> Self {
        Self {
            sending,
            write,
            since: None,
            timer: None,
            _held: held,
        }
    }
}

impl<F: Future<Output = ()> + Unpin, H: Unpin> Future for Watched<F, H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let sending = Pin::new(&mut this.sending);
        let (sent, since) = SINCE.sync_scope(Cell::new(this.since), || {
            let sent = sending.poll(context);
            (sent, SINCE.with(Cell::get))
        });
        this.since = since;
        if sent.is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = since else {
            return Poll::Pending;
        };
        let end = since + this.write;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        ready!(timer.as_mut().poll(context));
        tracing::debug!("the client does not read the response: its stream is reset");
        Poll::Ready(())
    }
}
