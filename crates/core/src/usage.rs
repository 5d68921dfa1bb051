use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::id::IdentityId;
use super::time::UnixTime;

/// How often a use is noted, in seconds: most requests write nothing.
const EVERY: u64 = 60;

/// When an identity was used last, to the minute, and how its clock goes.
#[derive(Debug, Default)]
pub struct Usage {
    /// Seconds since 1970; 0 for never.
    used: AtomicU64,
    /// The same of the seed before the present one.
    previous_used: AtomicU64,
    drift: AtomicI64,
}

/// A use, to be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Whose.
    pub id: IdentityId,
    /// When.
    pub used: UnixTime,
    /// How many steps the token's was after the present one; negative if before.
    pub drift: i64,
    /// Whether the token was of the seed before the present one.
    pub is_of_previous: bool,
}

impl Usage {
    /// Makes what was saved: when it was used last, the same of the seed before, and the drift.
    pub fn new(used: UnixTime, previous_used: UnixTime, drift: i64) -> Self {
        Self {
            used: AtomicU64::new(used.as_secs()),
            previous_used: AtomicU64::new(previous_used.as_secs()),
            drift: AtomicI64::new(drift),
        }
    }

    /// Returns when the identity was used last, to the minute.
    pub fn used(&self) -> Option<UnixTime> {
        time(&self.used)
    }

    /// Returns when the seed before the present one was used last, to the minute.
    pub fn previous_used(&self) -> Option<UnixTime> {
        time(&self.previous_used)
    }

    /// Returns how many steps the last token was after the step that it came in; negative if before.
    pub fn drift(&self) -> i64 {
        self.drift.load(Ordering::Relaxed)
    }

    /// Returns the same for a copy of the record.
    pub(super) fn copy(&self) -> Self {
        let of = |time: &AtomicU64| AtomicU64::new(time.load(Ordering::Relaxed));
        Self {
            used: of(&self.used),
            previous_used: of(&self.previous_used),
            drift: AtomicI64::new(self.drift()),
        }
    }

    /// Notes a use; says whether it is to be saved.
    pub(super) fn note(&self, of: &Use) -> bool {
        let place = if of.is_of_previous {
            &self.previous_used
        } else {
            &self.used
        };
        let (last, now) = (place.load(Ordering::Relaxed), of.used.as_secs());
        if now.abs_diff(last) < EVERY {
            return false;
        }
        self.drift.store(of.drift, Ordering::Relaxed);
        // Of several at the same time one saves it.
        let order = Ordering::Relaxed;
        place.compare_exchange(last, now, order, order).is_ok()
    }
}

fn time(secs: &AtomicU64) -> Option<UnixTime> {
    match secs.load(Ordering::Relaxed) {
        0 => None,
        secs => Some(UnixTime::from_secs(secs)),
    }
}
