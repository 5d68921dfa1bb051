use super::identity::Identity;
use super::time::UnixTime;
use super::totp::Step;

/// The step at which a token is right.
#[derive(Clone, Copy)]
pub(super) struct Match {
    pub(super) step: Step,
    /// The current step.
    pub(super) current: Step,
    /// Whether the previous seed made the token.
    pub(super) is_of_previous: bool,
}

impl Match {
    /// Returns how many steps the token is ahead of the current one, negative for late.
    pub(super) fn offset(self) -> i64 {
        self.step.0.cast_signed() - self.current.0.cast_signed()
    }
}

impl Match {
    /// Returns when the token ends to be accepted: at the end of the window of its step, or before
    /// that, with its seed or its identity.
    pub(super) fn accepted_until(self, identity: &Identity, window: u8) -> UnixTime {
        let end = self.step.0.saturating_add(u64::from(window) + 1);
        let end = end.saturating_mul(identity.parameters.period().into());
        let of_seed = match self.is_of_previous {
            true => identity.previous_until(),
            false => None,
        };
        let ends = [of_seed, identity.terms().expires].into_iter().flatten();
        ends.fold(UnixTime::from_secs(end), UnixTime::min)
    }
}

/// Runs the remaining comparisons and returns whether one of them succeeds.
pub(super) fn rest(mut checks: impl Iterator<Item = Option<Match>>) -> bool {
    let mut is_right = false;
    while checks.find_map(std::hint::black_box).is_some() {
        is_right = true;
    }
    is_right
}
