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

/// Runs the remaining comparisons and returns whether one of them succeeds.
pub(super) fn rest(mut checks: impl Iterator<Item = Option<Match>>) -> bool {
    let mut is_right = false;
    while checks.find_map(std::hint::black_box).is_some() {
        is_right = true;
    }
    is_right
}
