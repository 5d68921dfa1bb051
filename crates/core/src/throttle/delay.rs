use std::time::Duration;

/// A delay begun by a failure. No attempt is evaluated while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// How long it lasts.
    pub lasts: Duration,
    /// Set if nobody was throttled before: who is throttled now. Later delays are part of the same
    /// attack.
    pub first_of: Option<Throttled>,
}

/// The party that is throttled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttled {
    /// A principal, at sources where it has not recently authenticated: its tokens are being
    /// guessed.
    Principal,
    /// A source: it is guessing the tokens of many principals.
    Source,
    /// A principal at a source where it has recently authenticated: another client of that source
    /// is guessing its tokens, and both are locked out.
    TrustedSource,
}

impl Throttled {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Principal, Self::Source, Self::TrustedSource];

    /// Returns its name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Source => "source",
            Self::TrustedSource => "trusted_source",
        }
    }
}

/// The delay a failure begins in one slot; 0 s for none.
#[derive(Clone, Copy, Default)]
pub(super) struct Begun {
    pub(super) secs: u64,
    pub(super) is_first: bool,
}
