use std::time::Duration;

/// A delay that a failure has begun: nobody gets a verdict while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// How long it lasts.
    pub lasts: Duration,
    /// Who is throttled from now on, if nobody was before; later delays say that an attack goes on.
    pub first_of: Option<Throttled>,
}

/// Who is throttled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttled {
    /// A principal, at sources where it has not authenticated lately: somebody guesses its tokens.
    Principal,
    /// A source: it guesses tokens of many principals.
    Source,
    /// A principal at a source where it has authenticated lately: somebody who shares the source guesses
    /// its tokens, and it is locked out with them.
    TrustedSource,
}

impl Throttled {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Principal, Self::Source, Self::TrustedSource];

    /// Returns what logs and metrics call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Source => "source",
            Self::TrustedSource => "trusted_source",
        }
    }
}

/// What a failure begins in one place; no seconds for nothing.
#[derive(Clone, Copy, Default)]
pub(super) struct Begun {
    pub(super) secs: u64,
    pub(super) is_first: bool,
}
