//! Limits how slowly the body of a request may arrive.
//!
//! Pingora 0.9.1 has a read timeout over HTTP/1 only ("TODO: timeout" in `v2/server.rs`), and no
//! minimum rate. This can go when it has both; the test
//! `wire::flood::body_that_stops_or_drips_is_cut_over_http2` then passes without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::{Limits, Timeouts};

tokio::task_local! {
    /// The body of the request that a task serves over HTTP/2. Pingora 0.9.1 has no place to pass it from the
    /// HTTP/2 loop to the filters of the proxy. It belongs to the request, not to a thread.
    static BODY: Arc<BodyClock>;
}

/// The progress of a body. Only one thread at a time changes it.
#[derive(Debug)]
pub(crate) struct BodyClock {
    began: Instant,
    /// When enough bytes of the current span must have arrived, in milliseconds after `began`;
    /// [`Self::NONE`] while no body is expected.
    due: AtomicU64,
    /// The bytes that arrived in this span.
    bytes: AtomicU64,
}

impl BodyClock {
    const NONE: u64 = u64::MAX;

    fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            due: AtomicU64::new(Self::NONE),
            bytes: AtomicU64::new(0),
        })
    }

    /// Begins to wait for the body of the request that this task serves.
    pub(crate) fn begin(timeouts: &Timeouts) -> Arc<Self> {
        let body = BODY.try_with(Arc::clone).unwrap_or_else(|_| Self::new());
        body.wait(timeouts);
        body
    }

    /// Records received bytes. Returns whether the body is fast enough: `limits.body_rate`,
    /// averaged over `timeouts.read`. Always true while no body is expected.
    pub(crate) fn came(&self, bytes: usize, limits: &Limits, timeouts: &Timeouts) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        if due == Self::NONE || limits.body_rate == 0 {
            return true;
        }
        let bytes = self.bytes.load(Ordering::Relaxed) + bytes as u64;
        self.bytes.store(bytes, Ordering::Relaxed);
        if u128::from(bytes) >= u128::from(limits.body_rate) * timeouts.read.as_millis() / 1000 {
            self.wait(timeouts);
            return true;
        }
        self.now() <= due
    }

    /// Stops waiting, because the body is complete or the response has begun.
    pub(crate) fn end(&self) {
        self.due.store(Self::NONE, Ordering::Relaxed);
    }

    fn wait(&self, timeouts: &Timeouts) {
        let span = u64::try_from(timeouts.read.as_millis()).unwrap_or(Self::NONE);
        self.bytes.store(0, Ordering::Relaxed);
        self.due
            .store(self.now().saturating_add(span), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(Self::NONE)
    }

    /// Resolves when a body is overdue. `pause` is the interval of checks while no body is
    /// expected.
    async fn stopped(&self, pause: Duration) {
        loop {
            let left = match self.due.load(Ordering::Relaxed) {
                Self::NONE => pause,
                due => Duration::from_millis(due.saturating_sub(self.now())),
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left + GRACE).await;
        }
    }
}

/// An extra time for a stopped body, so that a dripping one gets its response first.
const GRACE: Duration = Duration::from_millis(100);

/// Serves an HTTP/2 request. Returns `false` if its body stopped.
pub(crate) async fn watch(served: impl Future<Output = ()>, read: Duration) -> bool {
    let body = BodyClock::new();
    let served = BODY.scope(Arc::clone(&body), served);
    tokio::select! {
        biased;
        () = served => true,
        () = body.stopped(read) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(rate: u64, read: u64) -> (Limits, Timeouts) {
        let config = crate::config::Config::parse("", "test", []).unwrap();
        let limits = Limits {
            body_rate: rate,
            ..config.limits
        };
        let timeouts = Timeouts {
            read: Duration::from_millis(read),
            ..config.timeouts
        };
        (limits, timeouts)
    }

    #[test]
    fn body_that_brings_enough_in_each_span_goes_on_and_one_that_drips_does_not() {
        let (limits, timeouts) = bounds(1000, 20);
        let body = BodyClock::begin(&timeouts);
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(30));
            assert!(body.came(20, &limits, &timeouts));
        }
        assert!(body.came(19, &limits, &timeouts));
        std::thread::sleep(Duration::from_millis(30));
        let any = Limits {
            body_rate: 0,
            ..limits
        };
        assert!(body.came(0, &any, &timeouts));
        assert!(!body.came(0, &limits, &timeouts));
        body.end();
        assert!(body.came(0, &limits, &timeouts));
    }

    #[tokio::test]
    async fn body_that_stops_ends_its_request_and_an_answer_lifts_that() {
        let (_, timeouts) = bounds(1, 20);
        let stops = async {
            BodyClock::begin(&timeouts);
            std::future::pending::<()>().await;
        };
        assert!(!watch(stops, timeouts.read).await);
        let answered = async {
            BodyClock::begin(&timeouts).end();
            tokio::time::sleep(Duration::from_millis(300)).await;
        };
        assert!(watch(answered, timeouts.read).await);
    }
}
