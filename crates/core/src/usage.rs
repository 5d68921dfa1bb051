use std::sync::atomic::{AtomicU64, Ordering};

use super::id::IdentityId;
use super::time::UnixTime;

/// The minimum interval between two saved uses, in seconds. Most requests write nothing.
const EVERY: u64 = 60;

/// When a seed was last used, to the minute, and how far the clock of its client was off.
#[derive(Debug)]
pub struct Usage(
    /// The time in its upper bits, 0 if it was never used, and the drift.
    AtomicU64,
);

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
    /// The bits of a drift. The other 48 have the seconds of nine million years.
    const DRIFT: u32 = 16;

    /// Makes the usage of a seed that was never used.
    pub const fn never() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Makes a usage from saved values: the last use, 0 if there was none, and the drift.
    pub fn new(used: UnixTime, drift: i64) -> Self {
        Self(AtomicU64::new(pack(used.as_secs(), drift)))
    }

    /// Returns when the seed was last used, to the minute.
    pub fn used(&self) -> Option<UnixTime> {
        let (used, _) = self.load();
        (used != 0).then(|| UnixTime::from_secs(used))
    }

    /// Returns the distance of the last token from the step in which it arrived, in steps; negative
    /// if it was earlier.
    pub fn drift(&self) -> i64 {
        self.load().1
    }

    /// Copies the values for a copy of the record.
    pub(super) fn copy(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }

    /// Records a use. Returns whether the caller must save it.
    pub(super) fn record(&self, used: UnixTime, drift: i64) -> bool {
        let (order, last) = (Ordering::Relaxed, self.0.load(Ordering::Relaxed));
        let is_recent = used.as_secs().abs_diff(unpack(last).0) < EVERY;
        let next = || pack(used.as_secs(), drift);
        // Of several concurrent uses, one is saved.
        !is_recent && self.0.compare_exchange(last, next(), order, order).is_ok()
    }

    /// Returns the seconds of the last use, and the drift.
    fn load(&self) -> (u64, i64) {
        unpack(self.0.load(Ordering::Relaxed))
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self::never()
    }
}

fn pack(used: u64, drift: i64) -> u64 {
    let clamped = drift.clamp(i16::MIN.into(), i16::MAX.into());
    let drift = clamped.cast_unsigned() & ((1 << Usage::DRIFT) - 1);
    used.min(u64::MAX >> Usage::DRIFT) << Usage::DRIFT | drift
}

fn unpack(last: u64) -> (u64, i64) {
    let above = u64::BITS - Usage::DRIFT;
    (last >> Usage::DRIFT, (last << above).cast_signed() >> above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_drift_are_kept_up_to_their_bounds() {
        for drift in [0, 1, -1, 10, -10, 32_767, -32_768] {
            for used in [0, 1, 1_800_000_000, u64::MAX >> Usage::DRIFT] {
                let usage = Usage::new(UnixTime::from_secs(used), drift);
                assert_eq!(usage.load(), (used, drift));
            }
        }
        let beyond = Usage::new(UnixTime::from_secs(u64::MAX), i64::MIN);
        assert_eq!(beyond.load(), (u64::MAX >> Usage::DRIFT, -32_768));
    }

    #[test]
    fn use_is_saved_once_a_minute() {
        let usage = Usage::default();
        assert_eq!((usage.used(), usage.drift()), (None, 0));
        let record = |secs, drift| usage.record(UnixTime::from_secs(secs), drift);
        assert!(record(1000, -1) && !record(1059, 1) && !record(941, 1));
        assert_eq!(usage.drift(), -1);
        assert!(record(1060, 1));
        let used = Some(UnixTime::from_secs(1060));
        assert_eq!((usage.used(), usage.drift()), (used, 1));
        assert!(record(1000, 0), "the clock was set back");
    }
}
