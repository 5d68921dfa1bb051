//! A leaky bucket of failures, forgiven one by one.

use super::delay::Begun;

/// How failures of one scope are counted and forgiven. Times are in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The number of failures without a delay.
    pub(super) free: u32,
    /// The first delay; each further failure doubles it.
    pub(super) delay: u64,
    /// The longest delay.
    pub(super) longest: u64,
    /// The time after which one failure is forgiven.
    pub(super) forgive: u64,
    /// The time after the last failure when all are forgiven.
    pub(super) forget: u64,
}

impl Pace {
    /// Returns the maximum number of failures that count before another attempt is evaluated: those
    /// after which the delay no longer grows. So all processes together, however many evaluate
    /// attempts at the same time, in the long run evaluate one attempt for each failure forgiven.
    pub(super) fn most(self) -> u32 {
        let doublings = u64::BITS - self.longest.div_ceil(self.delay.max(1)).leading_zeros();
        self.free.saturating_add(doublings + 1)
    }

    /// Returns the delay after `failures`, in seconds; 0 within the free allowance.
    fn delay_after(self, failures: u32) -> u64 {
        let Some(more) = failures.checked_sub(self.free) else {
            return 0;
        };
        let first = self.delay.max(1);
        let longest = self.longest.max(first);
        let doubled = first.checked_mul(1_u64.checked_shl(more).unwrap_or(u64::MAX));
        doubled.unwrap_or(longest).min(longest)
    }

    /// Returns the time it takes to forgive a number of failures, in seconds.
    fn time_of(self, failures: u32) -> u64 {
        u64::from(failures).saturating_mul(self.forgive)
    }
}

/// The number of attempts processes may evaluate at the same time before they see each other's
/// failures.
const AT_ONCE: u32 = 64;

/// The failures of one slot. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Debt {
    /// When all failures will have been forgiven.
    pub(super) paid: u64,
    /// When the last failure was.
    pub(super) failed: u64,
}

impl Debt {
    /// Returns the number of failures that count at a time.
    pub(super) fn failures(self, pace: Pace, at: u64) -> u32 {
        let owed = self.paid.saturating_sub(at).div_ceil(pace.forgive.max(1));
        u32::try_from(owed).unwrap_or(u32::MAX)
    }

    /// Drops failures that no longer count, and those dated by a clock that was ahead. Returns
    /// whether anything has changed beyond the passage of time.
    pub(super) fn refresh(&mut self, pace: Pace, unthrottled: u64, now: u64) -> bool {
        let before = *self;
        // The clock was set back: a delay must not last until it catches up.
        let ahead = self.failed.saturating_sub(now);
        self.failed -= ahead;
        self.paid = self.paid.saturating_sub(ahead);
        let most = pace.most().saturating_add(AT_ONCE);
        self.paid = self.paid.min(now.saturating_add(pace.time_of(most)));
        // A time in the future is by a clock that was ahead, and would reset failures yet to come.
        let is_unthrottled = self.failed < unthrottled && unthrottled <= now;
        if self.paid > now && (is_unthrottled || now - self.failed >= pace.forget) {
            self.paid = 0;
        }
        *self != before
    }

    /// Returns the end of the delay begun by the last failure; 0 if it began none.
    pub(super) fn until(self, pace: Pace) -> u64 {
        match pace.delay_after(self.failures(pace, self.failed)) {
            0 => 0,
            delay => {
                let room = self.paid.saturating_sub(pace.time_of(pace.most() - 1));
                self.failed.saturating_add(delay).max(room)
            }
        }
    }

    /// Returns the rest of the delay, in seconds.
    pub(super) fn left(self, pace: Pace, now: u64) -> u64 {
        self.until(pace).saturating_sub(now)
    }

    /// Returns in how many seconds there is room for another failure within `limit`.
    pub(super) fn full_for(self, pace: Pace, limit: u32, now: u64) -> u64 {
        let below = pace.time_of(limit.saturating_sub(1));
        self.paid.saturating_sub(below).saturating_sub(now)
    }

    /// Counts a failure and returns the delay it begins.
    pub(super) fn count(&mut self, pace: Pace, now: u64) -> Begun {
        self.paid = self.paid.max(now).saturating_add(pace.forgive);
        self.failed = now;
        Begun {
            secs: self.left(pace, now),
            is_first: self.failures(pace, now) == pace.free,
        }
    }

    /// Takes back a failure counted at `now`, where `before` is the time of the previous one.
    pub(super) fn take_back(&mut self, pace: Pace, before: u64, now: u64) {
        self.paid = self.paid.saturating_sub(pace.forgive);
        if self.failed == now {
            self.failed = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        free: 5,
        delay: 1,
        longest: 900,
        forgive: 900,
        forget: 86_400,
    };

    #[test]
    fn one_failure_is_forgiven_at_a_time() {
        let mut debt = Debt::default();
        for _ in 0..4 {
            debt.count(PACE, 1000);
        }
        assert_eq!(debt.failures(PACE, 1000), 4);
        assert_eq!(debt.failures(PACE, 1899), 4);
        assert_eq!(debt.failures(PACE, 1900), 3);
        assert_eq!(debt.failures(PACE, 1000 + 4 * 900), 0);
    }

    #[test]
    fn failure_taken_back_leaves_no_trace() {
        let mut debt = Debt::default();
        for at in [0, 0, 0, 0, 0, 1, 3] {
            debt.count(PACE, 1000 + at);
        }
        let before = debt;
        assert!(debt.count(PACE, 1007).secs > before.left(PACE, 1007));
        debt.take_back(PACE, before.failed, 1007);
        assert_eq!(debt, before);
    }

    #[test]
    fn debt_of_a_clock_that_was_ahead_is_soon_forgiven() {
        let year = 365 * 86_400;
        let mut debt = Debt::default();
        for at in 0..70_000 {
            debt.count(PACE, year + at);
        }
        assert!(debt.refresh(PACE, 0, 0));
        assert!(debt.paid <= u64::from(PACE.most() + AT_ONCE) * 900);
        assert_eq!(debt.left(PACE, 24 * 3600), 0);
    }

    #[test]
    fn unthrottling_in_the_future_has_no_effect() {
        let mut debt = Debt::default();
        for _ in 0..5 {
            debt.count(PACE, 1000);
        }
        debt.refresh(PACE, 50_000, 1000);
        assert_eq!(debt.failures(PACE, 1000), 5);
        debt.refresh(PACE, 1001, 1001);
        assert_eq!(debt.failures(PACE, 1001), 0);
    }

    #[test]
    fn delay_stops_growing_at_the_maximum_number_of_failures() {
        assert_eq!(PACE.delay_after(4), 0);
        assert_eq!(PACE.delay_after(5), 1);
        assert_eq!(PACE.delay_after(PACE.most() - 1), 900);
        assert_eq!(PACE.delay_after(PACE.most()), 900);
        assert_eq!(PACE.delay_after(u32::MAX), 900);
    }

    #[test]
    fn limit_frees_up_over_time() {
        let mut debt = Debt::default();
        for _ in 0..9 {
            debt.count(PACE, 1000);
            assert_eq!(debt.full_for(PACE, 10, 1000), 0);
        }
        debt.count(PACE, 1000);
        assert_eq!(debt.full_for(PACE, 10, 1000), 900);
        assert_eq!(debt.full_for(PACE, 11, 1000), 0);
        assert_eq!(debt.full_for(PACE, 10, 1900), 0);
    }
}
