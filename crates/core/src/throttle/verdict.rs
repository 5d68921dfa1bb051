use std::time::Duration;

use super::claim::Claim;
use super::delay::{Begun, Delay, Throttled};

/// The verdict on an attempt whose token has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A right token, which may pass.
    Pass {
        /// Whether [`super::Throttle::trust`] must be called.
        is_news: bool,
    },
    /// A wrong token, which was counted.
    Counted {
        /// The delay it begins, if any.
        delay: Option<Delay>,
        /// The argument of [`super::Throttle::take_back`].
        undo: Undo,
    },
    /// The attempt is not evaluated, whatever its token.
    Delayed {
        /// The rest of the delay.
        left: Duration,
        /// The party that is throttled.
        whom: Throttled,
    },
    /// The attempt may be evaluated once the process has this claim.
    Unclaimed(Claim),
}

impl Verdict {
    /// Returns whether the attempt begins a delay, or arrives during one.
    pub(crate) const fn is_delay(&self) -> bool {
        matches!(
            self,
            Self::Delayed { .. } | Self::Counted { delay: Some(_), .. }
        )
    }

    /// Removes the report of an attack on the principal. The outcome of the attempt is unchanged.
    pub(crate) fn take_back_attack(&mut self) {
        match self {
            Self::Counted {
                delay: Some(delay), ..
            } => delay.first_of = delay.first_of.filter(|whom| *whom == Throttled::Source),
            Self::Delayed { whom, .. } if *whom == Throttled::TrustedSource => {
                *whom = Throttled::Principal;
            }
            Self::Counted { .. }
            | Self::Delayed { .. }
            | Self::Pass { .. }
            | Self::Unclaimed(_) => {}
        }
    }
}

/// The times of the previous failures in the two slots where a failure was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Undo {
    pub(super) is_trusted: bool,
    pub(super) before: [u64; 2],
}

/// Returns the verdict on a failure that counts in two slots, of the parties `whom`.
pub(super) fn begun([one, other]: [Begun; 2], whom: [Throttled; 2], undo: Undo) -> Verdict {
    let secs = one.secs.max(other.secs);
    let [of_one, of_other] = whom;
    let first_of = match (one.is_first, other.is_first) {
        (true, _) => Some(of_one),
        (false, true) => Some(of_other),
        (false, false) => None,
    };
    Verdict::Counted {
        delay: (secs > 0).then(|| Delay {
            lasts: Duration::from_secs(secs),
            first_of,
        }),
        undo,
    }
}
