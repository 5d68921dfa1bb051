//! A clock that no change of the system clock moves.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time since 1970 as it was when this was made, plus the time that has passed since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steady {
    began: Instant,
    at: Duration,
}

impl Default for Steady {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }
}

impl Steady {
    /// Returns the time since 1970.
    pub(super) fn now(&self) -> Duration {
        self.at(Instant::now())
    }

    /// Returns what it showed at a moment.
    pub(super) fn at(&self, moment: Instant) -> Duration {
        self.at + moment.saturating_duration_since(self.began)
    }
}
