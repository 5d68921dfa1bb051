use std::time::Duration;

use super::Verdict;

/// A delay that a failure has begun: nobody gets a verdict while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// How long it lasts.
    pub lasts: Duration,
    /// Whom it is the first one of, if it is; those that follow say that an attack goes on.
    pub first_of: Option<Slowed>,
}

/// Who is slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slowed {
    /// A principal: somebody guesses its tokens.
    Principal,
    /// A source: it guesses tokens of many.
    Source,
}

impl Slowed {
    /// Returns what figures call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Source => "source",
        }
    }
}

/// What a failure begins in one place; no seconds for nothing.
#[derive(Clone, Copy, Default)]
pub(super) struct Begun {
    pub(super) secs: u64,
    pub(super) is_first: bool,
}

/// Returns what a failure comes to, which counts in two places.
pub(super) fn begun(of_principal: Begun, of_source: Begun) -> Verdict {
    let secs = of_principal.secs.max(of_source.secs);
    let first_of = match (of_principal.is_first, of_source.is_first) {
        (true, _) => Some(Slowed::Principal),
        (false, true) => Some(Slowed::Source),
        (false, false) => None,
    };
    Verdict::Counted {
        delay: (secs > 0).then(|| Delay {
            lasts: Duration::from_secs(secs),
            first_of,
        }),
    }
}
