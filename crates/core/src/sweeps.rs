//! Which saved failure counts are still needed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::throttle::ThrottleSettings;
use super::time::UnixTime;

/// The time in seconds, and the number of saved failure counts, after which those that are not
/// needed are deleted.
const SWEEP_EVERY: u64 = 600;
const SWEEP_AFTER: usize = 10_000;

/// When saved failure counts were last deleted. At the start, they are due.
#[derive(Default)]
pub(super) struct Sweeps {
    last: AtomicU64,
    saved: AtomicUsize,
}

impl Sweeps {
    /// Returns which records are needed, if the others are to be deleted now.
    pub(super) fn due(&self, settings: ThrottleSettings, now: UnixTime) -> Option<Sweep> {
        self.is_due(now, settings).then(|| Sweep::of(settings, now))
    }

    /// Counts records that were saved at `now`, when others may have been deleted.
    pub(super) fn done(&self, saved: usize, is_swept: bool, now: UnixTime) {
        self.saved.fetch_add(saved, Ordering::Relaxed);
        if is_swept {
            self.last.store(now.as_secs(), Ordering::Relaxed);
            self.saved.store(0, Ordering::Relaxed);
        }
    }

    fn is_due(&self, now: UnixTime, settings: ThrottleSettings) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        now.as_secs().abs_diff(last) >= SWEEP_EVERY
            || self.saved.load(Ordering::Relaxed) >= SWEEP_AFTER.min(settings.capacity)
    }
}

/// Which saved failure counts are still needed. A store may delete the others later.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// The number of records of each scope; those that were saved last are kept.
    pub kept: usize,
    /// Failures before this time are forgotten.
    pub failed_before: UnixTime,
    /// Right tokens before this time no longer make a source trusted.
    pub passed_before: UnixTime,
}

impl Sweep {
    /// Returns which records are needed at `now`. Twice as many are kept as are in memory, because
    /// the newest ones are kept, and not those with the most failures.
    fn of(settings: ThrottleSettings, now: UnixTime) -> Self {
        let before = |secs: u64| UnixTime::from_secs(now.as_secs().saturating_sub(secs));
        Self {
            kept: settings.capacity.saturating_mul(2),
            failed_before: before(settings.forget.as_secs()),
            passed_before: before(settings.trust.as_secs()),
        }
    }
}
