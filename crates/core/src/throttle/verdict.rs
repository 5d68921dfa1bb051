use std::time::Duration;

use super::delay::{Begun, Delay, Throttled};

/// What becomes of an attempt whose token has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A right one may pass.
    Pass {
        /// Whether [`super::Throttle::trust`] should be called.
        is_news: bool,
    },
    /// A wrong one was counted.
    Counted {
        /// The delay that it begins, if it begins one.
        delay: Option<Delay>,
        /// What [`super::Throttle::take_back`] needs.
        undo: Undo,
    },
    /// It gets no verdict, whatever it was.
    Delayed {
        /// For how long still.
        left: Duration,
        /// Who is throttled.
        whom: Throttled,
    },
}

impl Verdict {
    /// Makes it say nothing of an attack on the principal. What becomes of the attempt stays as it is.
    pub(crate) fn take_back_attack(&mut self) {
        match self {
            Self::Counted {
                delay: Some(delay), ..
            } => delay.first_of = delay.first_of.filter(|whom| *whom == Throttled::Source),
            Self::Delayed { whom, .. } if *whom == Throttled::TrustedSource => {
                *whom = Throttled::Principal;
            }
            Self::Counted { .. } | Self::Delayed { .. } | Self::Pass { .. } => {}
        }
    }
}

/// When the failures before a failure were, in the two places where it was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Undo {
    pub(super) is_trusted: bool,
    pub(super) before: [u64; 2],
}

/// Returns the verdict on a failure that counts in two places; `whom` says which two.
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
