use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time in whole seconds since 1970-01-01 00:00 UTC.
///
/// The core never reads a clock. A door reads it and converts the time with [`UnixTime::from`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(
    /// One more than the seconds, so that an `Option` takes no more memory: identities have several.
    NonZeroU64,
);

impl UnixTime {
    /// Makes a time from seconds since the epoch. The last second that a `u64` could count is the one
    /// before.
    pub const fn from_secs(secs: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(secs))
    }

    /// Returns the seconds since the epoch.
    pub const fn as_secs(self) -> u64 {
        self.0.get() - 1
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixTime").field(&self.as_secs()).finish()
    }
}

impl From<SystemTime> for UnixTime {
    /// A clock before 1970 counts as 0, when only tokens of the first steps are correct.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH);
        Self::from_secs(since.unwrap_or(Duration::ZERO).as_secs())
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_secs().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_kept_and_the_last_one_is_rounded() {
        for secs in [0, 1, 1_700_000_000, u64::MAX - 1] {
            assert_eq!(UnixTime::from_secs(secs).as_secs(), secs);
        }
        let last = UnixTime::from_secs(u64::MAX);
        assert_eq!(last, UnixTime::from_secs(u64::MAX - 1));
        assert!(UnixTime::from_secs(0) < UnixTime::from_secs(1));
        assert_eq!(format!("{:?} {0}", UnixTime::from_secs(7)), "UnixTime(7) 7");
    }

    #[test]
    fn optional_time_takes_no_more_memory() {
        assert_eq!(size_of::<Option<UnixTime>>(), size_of::<u64>());
    }
}
