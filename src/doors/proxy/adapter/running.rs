//! The future of a request in Pingora's proxy. The task of the connection polls it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame};
use tokio::runtime::Handle;

use super::parts::Stream;
use crate::net::http::Abort;

/// The future of a request in Pingora's proxy. If it is dropped early because the client has
/// disconnected, it continues as a task, so that the request is logged.
///
/// It is not a task from the start: if two tasks of a request run on two threads, Pingora 0.9.1
/// cannot reuse pooled connections ("failed to acquire reusable stream").
pub(super) struct Running(Option<Polled>);

struct Polled {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    wakes: Arc<Wakes>,
    /// Of `wakes`.
    waker: Waker,
}

impl Running {
    pub(super) fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let wakes = Arc::<Wakes>::default();
        Self(Some(Polled {
            future: Box::pin(future),
            waker: Arc::clone(&wakes).into(),
            wakes,
        }))
    }

    /// Returns a future that has ended.
    pub(super) const fn over() -> Self {
        Self(None)
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) {
        let Some(polled) = &mut self.0 else {
            return;
        };
        polled.wakes.begin(context.waker());
        let mut own = Context::from_waker(&polled.waker);
        if polled.future.as_mut().poll(&mut own).is_ready() {
            self.0 = None;
        } else if polled.wakes.end() {
            context.waker().wake_by_ref();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(polled) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(polled.future);
        }
    }
}

/// Wakes the task of the connection, but not while it polls the request.
///
/// The halves of a request in Pingora send messages to each other, each of which wakes the task that
/// is running. Most are received before the poll ends, often the last of the request. The task would
/// then be polled in vain.
#[derive(Default)]
struct Wakes {
    state: AtomicU8,
    task: AtomicWaker,
}

/// The future waits, and no wake-up has come since.
const WAITS: u8 = 0;
/// The future is being polled, and no wake-up has come since.
const RUNS: u8 = 1;
/// A wake-up has come.
const WOKEN: u8 = 2;

impl Wakes {
    /// Begins a poll by the task of `waker`.
    fn begin(&self, waker: &Waker) {
        self.task.register(waker);
        // Reads too, so that this poll sees everything that was done before the last wake-up.
        self.state.swap(RUNS, Ordering::SeqCst);
    }

    /// Ends a poll. Returns whether a wake-up has come meanwhile.
    fn end(&self) -> bool {
        let order = Ordering::SeqCst;
        let ended = self.state.compare_exchange(RUNS, WAITS, order, order);
        ended.is_err()
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::SeqCst) == WAITS {
            self.task.wake();
        }
    }
}

/// The body of a response. Reading it also polls the future in Pingora's proxy, which sends it.
pub(super) struct Driven {
    pub(super) body: Stream,
    pub(super) running: Running,
}

impl Body for Driven {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        self.running.poll(context);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls a future that wakes itself as often, and ends if `ends`. Returns it and the number of
    /// wake-ups of the task.
    fn polled(wakes: usize, ends: bool) -> (Running, Waker, Arc<Count>) {
        let slot = Arc::new(std::sync::Mutex::new(Waker::noop().clone()));
        let taken = Arc::clone(&slot);
        let is_first = AtomicBool::new(true);
        let mut running = Running::new(poll_fn(move |context| {
            taken.lock().unwrap().clone_from(context.waker());
            if is_first.swap(false, Ordering::SeqCst) {
                (0..wakes).for_each(|_| context.waker().wake_by_ref());
            }
            match ends {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }));
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        running.poll(&mut Context::from_waker(&waker));
        let own = slot.lock().unwrap().clone();
        (running, own, count)
    }

    fn woken(count: &Count) -> usize {
        count.0.load(Ordering::SeqCst)
    }

    #[test]
    fn task_is_woken_once_for_wake_ups_during_a_poll_and_not_at_the_end() {
        for (wakes, ends, expected) in [(0, false, 0), (3, false, 1), (3, true, 0)] {
            let (_running, _own, count) = polled(wakes, ends);
            assert_eq!(woken(&count), expected, "{wakes} {ends}");
        }
    }

    #[test]
    fn each_poll_may_be_followed_by_a_wake_up() {
        for before in [0, 2] {
            let (mut running, own, count) = polled(before, false);
            let mut expected = woken(&count);
            for _ in 0..3 {
                let waker = Waker::from(Arc::clone(&count));
                running.poll(&mut Context::from_waker(&waker));
                own.wake_by_ref();
                own.wake_by_ref();
                expected += 1;
                assert_eq!(woken(&count), expected);
            }
        }
    }

    #[test]
    fn last_task_that_polled_is_woken() {
        let (mut running, own, first) = polled(0, false);
        let second = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&second));
        running.poll(&mut Context::from_waker(&waker));
        own.wake();
        assert_eq!((woken(&first), woken(&second)), (0, 1));
    }
}
