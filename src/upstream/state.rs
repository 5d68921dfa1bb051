//! The state of a peer. It belongs to the peer's address and outlives reloads.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::config::Ejection;

/// The state of a peer.
pub(crate) struct State {
    created: Instant,
    under_way: AtomicUsize,
    /// Consecutive failures.
    failures: AtomicUsize,
    /// The end of the ejection, in milliseconds since `created`; 0 if it never was ejected.
    ejected_until: AtomicU64,
    /// Whether the last health check failed.
    is_unhealthy: AtomicBool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            created: Instant::now(),
            under_way: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            ejected_until: AtomicU64::new(0),
            is_unhealthy: AtomicBool::new(false),
        }
    }
}

impl State {
    pub(crate) fn enter(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(crate) fn is_ejected(&self) -> bool {
        match self.ejected_until.load(Ordering::Relaxed) {
            0 => false,
            until => self.now() < until,
        }
    }

    pub(crate) fn is_healthy(&self) -> bool {
        !self.is_unhealthy.load(Ordering::Relaxed)
    }

    /// Records the result of a health check. Returns whether it differs from the previous one.
    pub(crate) fn checked(&self, is_healthy: bool) -> bool {
        self.is_unhealthy.swap(!is_healthy, Ordering::Relaxed) == is_healthy
    }

    pub(crate) fn responded(&self) {
        // Usually there is nothing to reset.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a failure. Returns whether the peer, which is not ejected yet, has reached the limit.
    pub(crate) fn failed(&self, ejection: &Ejection) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        // A peer that returns and fails again is ejected at its first failure.
        ejection.failures > 0 && failures >= ejection.failures && !self.is_ejected()
    }

    pub(crate) fn eject(&self, ejection: &Ejection) {
        let time = u64::try_from(ejection.time.as_millis()).unwrap_or(u64::MAX);
        let until = self.now().saturating_add(time);
        self.ejected_until.store(until, Ordering::Relaxed);
    }

    /// Returns the milliseconds since `created`.
    fn now(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ejection(failures: usize) -> Ejection {
        Ejection {
            failures,
            time: Duration::from_secs(3600),
        }
    }

    #[test]
    fn consecutive_failures_eject_and_a_response_resets_the_count() {
        let state = State::default();
        let eject = ejection(2);
        assert!(!state.failed(&eject));
        state.responded();
        assert!(!state.failed(&eject) && !state.is_ejected());
        assert!(state.failed(&eject));
        state.eject(&eject);
        assert!(state.is_ejected());
    }

    #[test]
    fn peer_that_is_ejected_is_not_ejected_again() {
        let state = State::default();
        let eject = ejection(1);
        assert!(state.failed(&eject));
        state.eject(&eject);
        assert!((0..10).all(|_| !state.failed(&eject)));
    }

    #[test]
    fn no_peer_is_ejected_when_ejection_is_off() {
        let state = State::default();
        assert!((0..100).all(|_| !state.failed(&ejection(0))));
    }

    #[test]
    fn only_a_change_of_health_is_reported() {
        let state = State::default();
        assert!(!state.checked(true));
        assert!(state.checked(false) && !state.is_healthy());
        assert!(!state.checked(false));
        assert!(state.checked(true) && state.is_healthy());
    }
}
