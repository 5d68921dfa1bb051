//! How long the database has been away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Since when something fails: milliseconds after the start, plus one; 0 while it works.
#[derive(Default)]
pub(super) struct Outage(AtomicU64);

impl Outage {
    /// Notes a failure; says whether it is the first.
    pub(super) fn begin(&self, started: Instant) -> bool {
        let now = millis(started.elapsed()) + 1;
        self.0
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    pub(super) fn end(&self) {
        // A store would dirty the line that every request reads.
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn is_longer(&self, started: Instant, limit: Duration) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => false,
            since => millis(started.elapsed()) + 1 > since.saturating_add(millis(limit)),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}
