//! The checks by name, and their results.

/// Defines the checks with their stable names.
macro_rules! checks {
    ($($check:ident = $name:literal,)+) => {
        /// A check.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Check {
            $($check,)+
        }

        impl Check {
            pub(super) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$check => $name,)+
                }
            }
        }
    };
}

checks! {
    Tls = "tls",
    Clock = "clock",
    GoodCredential = "good-credential",
    NoCredential = "no-credential",
    WrongToken = "wrong-token",
    OtherRealm = "other-realm",
    Identity = "identity",
    Token = "token",
    ForgedHeaders = "forged-headers",
    MethodOverride = "method-override",
    Methods = "methods",
    Paths = "paths",
    AbsoluteForm = "absolute-form",
    Caches = "caches",
    Redirects = "redirects",
    Metrics = "metrics",
    TrustedProxies = "trusted-proxies",
    Stopped = "stopped",
}

/// The result of a check.
pub(super) struct Outcome {
    pub(super) check: &'static str,
    pub(super) finding: Finding,
}

impl Outcome {
    /// Returns that a check has no result.
    pub(super) fn unknown(check: Check, why: &'static str) -> Self {
        Self {
            check: check.as_str(),
            finding: Finding::Unknown(why),
        }
    }

    /// Returns the finding, if there is one.
    pub(super) fn finding(&self) -> Option<&str> {
        match &self.finding {
            Finding::Found { what, .. } => Some(what),
            Finding::None | Finding::Unknown(_) => None,
        }
    }
}

/// What a check has found.
pub(super) enum Finding {
    None,
    /// A fault, and the line to change.
    Found {
        what: String,
        change: String,
    },
    /// Why the check has no result.
    Unknown(&'static str),
}
