use std::sync::Arc;
use std::time::Duration;

use super::credential::{Flaw, Presented};
use super::identity::Identity;
use super::principal::PrincipalRef;
use super::store::StoreError;
use super::throttle::{Delay, Source, Throttled};
use super::totp::Step;

/// One try to pass: what was presented, and from where. The time travels beside it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// What the request presents.
    pub presented: Presented<'a>,
    /// Where the request comes from.
    pub source: Source<'a>,
}

impl<'a> Attempt<'a> {
    /// Returns who the request claims to come from, if it claims anything.
    pub fn principal(&self) -> Option<PrincipalRef<'a>> {
        match self.presented {
            Presented::Credential(credential) => Some(credential.principal()),
            Presented::Absent | Presented::Malformed(_) => None,
        }
    }
}

/// The answer to an attempt.
#[derive(Debug)]
pub enum Decision {
    /// It may pass, as whom the permit says.
    Permit(Permit),
    /// It may not.
    Denial(Denial),
}

/// The proof that the authority let a request pass.
///
/// Only the authority can make one. Whoever stamps an identity on a request, or changes the store on
/// behalf of a caller, needs it.
#[derive(Clone, Debug)]
pub struct Permit {
    /// The identity holds the principal. Nothing else of it may be read through a permit.
    principal: Option<Arc<Identity>>,
    proof: Proof,
}

/// How a principal proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// Nothing was proved: anyone may pass.
    Nothing,
    /// A token.
    Token {
        /// The step that the token belongs to.
        step: Step,
        /// How many steps after the current one that was; less than 0 if before.
        offset: i64,
    },
}

impl Permit {
    pub(super) fn anonymous() -> Self {
        Self {
            principal: None,
            proof: Proof::Nothing,
        }
    }

    pub(super) fn proven(identity: Arc<Identity>, proof: Proof) -> Self {
        Self {
            principal: Some(identity),
            proof,
        }
    }

    /// Returns the principal that was proved; none where anyone may pass.
    pub fn principal(&self) -> Option<PrincipalRef<'_>> {
        self.principal.as_ref().map(|it| it.principal.as_ref())
    }

    /// Returns how it was proved.
    pub fn proof(&self) -> Proof {
        self.proof
    }
}

/// Why an attempt may not pass. The causes inside are for the log; a door renders the outer kind.
#[derive(Clone, Debug)]
pub enum Denial {
    /// Nothing was presented.
    NoCredential,
    /// What was presented is not exactly one credential.
    Malformed(Flaw),
    /// The credential proves nothing. Every refusal looks and costs the same.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The delay that it begins, where failures have become too many.
        delay: Option<Delay>,
    },
    /// Too many failures: no verdict is given on the token.
    Throttled {
        /// How long to wait before the next try.
        retry_after: Duration,
        /// Who is throttled.
        whom: Throttled,
    },
    /// Proven, but not allowed here.
    NotAllowed,
    /// The store cannot say.
    Unavailable(StoreError),
}

/// Why a well-formed credential proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody of that name in that realm.
    Unknown,
    /// The identity is disabled.
    Disabled,
    /// The identity may not authenticate yet.
    NotYetValid,
    /// The identity may not authenticate any more.
    Expired,
    /// The stored seed cannot be opened, so no token can be right.
    BrokenSeed,
    /// The token is that of no step in the window.
    WrongToken,
    /// The token is that of a step near the window: it is late, or a clock is off.
    OutsideWindow {
        /// How many steps after the present one; less than 0 if before.
        steps: i64,
    },
    /// The token was right, and its step is spent (RFC 6238 §5.2).
    Replayed,
}

impl Refusal {
    /// Says whether the identity may not authenticate now, with whatever token.
    pub const fn is_of_terms(self) -> bool {
        matches!(self, Self::Disabled | Self::NotYetValid | Self::Expired)
    }

    /// Returns a short, stable code for logs and metrics. `docs/reasons.md` has each.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_principal",
            Self::Disabled => "disabled",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::BrokenSeed => "broken_seed",
            Self::WrongToken => "wrong_token",
            Self::OutsideWindow { .. } => "outside_window",
            Self::Replayed => "replayed",
        }
    }
}

impl Denial {
    /// Returns a short, stable code for logs and metrics. `docs/reasons.md` has each.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::Malformed(_) => "malformed_credential",
            Self::Refused { refusal, .. } => refusal.reason(),
            Self::Throttled { .. } => "throttled",
            Self::NotAllowed => "not_allowed",
            Self::Unavailable(_) => "store_unavailable",
        }
    }
}
