use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::id::IdentityId;
use super::time::UnixTime;

/// The minimum interval between two saved uses, in seconds. Most requests write nothing.
const EVERY: u64 = 60;

/// When an identity was last used, to the minute, and how far its clock was off.
#[derive(Debug, Default)]
pub struct Usage {
    /// Seconds since 1970; 0 means never.
    used: AtomicU64,
    /// The same for the replaced seed.
    previous_used: AtomicU64,
    drift: AtomicI64,
}

/// A use to be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The identity.
    pub id: IdentityId,
    /// The time of the use.
    pub used: UnixTime,
    /// The distance of the token's step from the current one, in steps; negative if it was earlier.
    pub drift: i64,
    /// Whether the token was made with the replaced seed.
    pub is_of_previous: bool,
}

impl Usage {
    /// Makes a usage from saved values: the last uses of the current and of the replaced seed, and
    /// the drift.
    pub fn new(used: UnixTime, previous_used: UnixTime, drift: i64) -> Self {
        Self {
            used: AtomicU64::new(used.as_secs()),
            previous_used: AtomicU64::new(previous_used.as_secs()),
            drift: AtomicI64::new(drift),
        }
    }

    /// Returns when the identity was last used, to the minute.
    pub fn used(&self) -> Option<UnixTime> {
        time(&self.used)
    }

    /// Returns when the replaced seed was last used, to the minute.
    pub fn previous_used(&self) -> Option<UnixTime> {
        time(&self.previous_used)
    }

    /// Returns the distance of the last token from the step in which it arrived, in steps; negative
    /// if it was earlier.
    pub fn drift(&self) -> i64 {
        self.drift.load(Ordering::Relaxed)
    }

    /// Copies the values for a copy of the record.
    pub(super) fn copy(&self) -> Self {
        let of = |time: &AtomicU64| AtomicU64::new(time.load(Ordering::Relaxed));
        Self {
            used: of(&self.used),
            previous_used: of(&self.previous_used),
            drift: AtomicI64::new(self.drift()),
        }
    }

    /// Records a use. Returns whether the caller must save it.
    pub(super) fn record(&self, of: &Use) -> bool {
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
        // Of several concurrent uses, one is saved.
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
