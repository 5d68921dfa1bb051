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
        let forgets = now.as_secs().abs_diff(self.last.load(Ordering::Relaxed)) >= SWEEP_EVERY;
        let is_full = self.saved.load(Ordering::Relaxed) >= SWEEP_AFTER.min(settings.capacity);
        (forgets || is_full).then(|| Sweep::of(settings, now, forgets))
    }

    /// Counts records that were saved at `now`, when others may have been deleted.
    pub(super) fn done(&self, saved: usize, swept: Option<Sweep>, now: UnixTime) {
        self.saved.fetch_add(saved, Ordering::Relaxed);
        if let Some(Sweep { forgets, .. }) = swept {
            self.saved.store(0, Ordering::Relaxed);
            if forgets {
                self.last.store(now.as_secs(), Ordering::Relaxed);
            }
        }
    }
}

/// Which saved failure counts are still needed. A store may delete the others later.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// The number of records of each scope; those that were saved last are kept.
    pub kept: usize,
    /// Whether old records are deleted too, which reads all of them.
    pub forgets: bool,
    /// Failures before this time are forgotten.
    pub failed_before: UnixTime,
    /// Right tokens before this time no longer make a source trusted.
    pub passed_before: UnixTime,
}

impl Sweep {
    /// Returns which records are needed at `now`. Twice as many are kept as are in memory, because
    /// the newest ones are kept, and not those with the most failures.
    fn of(settings: ThrottleSettings, now: UnixTime, forgets: bool) -> Self {
        let before = |secs: u64| UnixTime::from_secs(now.as_secs().saturating_sub(secs));
        Self {
            kept: settings.capacity.saturating_mul(2),
            forgets,
            failed_before: before(settings.forget.as_secs()),
            passed_before: before(settings.trust.as_secs()),
        }
    }
}
