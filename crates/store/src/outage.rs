//! Measures how long the database has been failing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the change log may be unread before it counts as failing, although no read has failed.
pub(super) const STALL: Duration = Duration::from_secs(1);

/// The beginning of the current outage, in milliseconds after the start plus one; 0 if there is
/// none.
#[derive(Default)]
pub(super) struct Outage(AtomicU64);

impl Outage {
    /// Records a failure of a database that last worked at `since`, a time after the start. A
    /// failure can be noticed long after that, if the database does not respond. Returns whether
    /// the failure is the first of an outage.
    pub(super) fn begin(&self, since: Duration) -> bool {
        let now = millis(since) + 1;
        self.0
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    pub(super) fn end(&self) {
        // Every request reads this cache line, so do not write it without need.
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
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
