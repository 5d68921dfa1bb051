use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::credential::{Flaw, Presented};
use super::id::IdentityId;
use super::identity::{Identity, Version};
use super::principal::{Principal, PrincipalRef};
use super::store::StoreError;
use super::throttle::{Delay, Source, Throttled};
use super::time::UnixTime;
use super::totp::Step;

/// A request's credential and source. The time is a separate argument.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The credential, if the request has one.
    pub presented: Presented<'a>,
    /// The source of the request.
    pub source: Source<'a>,
}

impl<'a> Attempt<'a> {
    /// Returns the claimed principal, or `None` if the request has no valid credential.
    pub fn principal(&self) -> Option<PrincipalRef<'a>> {
        match self.presented {
            Presented::Credential(credential) => Some(credential.principal()),
            Presented::Absent | Presented::Malformed(_) => None,
        }
    }
}

/// The outcome of an attempt.
#[derive(Debug)]
pub enum Decision {
    /// The request may pass.
    Permit(Permit),
    /// The request is rejected.
    Denial(Denial),
}

/// Proof that the authority permitted a request.
///
/// Only the authority can make one. A door needs it to set identity headers, or to change the store
/// on behalf of a caller.
#[derive(Clone, Debug)]
pub struct Permit(Option<Authenticated>);

/// An authenticated principal, as an [`Authenticator`](super::Authenticator) returns it. It permits
/// nothing.
#[derive(Clone, Debug)]
pub struct Authenticated {
    pub(super) name: Name,
    proof: Proof,
    /// Whether it was by a token of the replaced seed.
    pub(super) is_of_previous: bool,
}

/// The record that holds the name of an authenticated principal. Sharing it copies nothing.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Identity(Arc<Identity>),
    Principal(Arc<Principal>),
}

impl Authenticated {
    /// Wraps the principal of a stored identity. Exposes nothing else of the identity.
    pub const fn identity(identity: Arc<Identity>, proof: Proof) -> Self {
        Self {
            name: Name::Identity(identity),
            proof,
            is_of_previous: false,
        }
    }

    /// Wraps a principal whose identity is stored elsewhere.
    pub const fn principal(principal: Arc<Principal>, proof: Proof) -> Self {
        Self {
            name: Name::Principal(principal),
            proof,
            is_of_previous: false,
        }
    }
}

/// How a principal was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// Not at all: the policy permits anyone.
    Nothing,
    /// By a token.
    Token {
        /// The step that the token belongs to.
        step: Step,
        /// The distance of that step from the current one; negative if it was earlier.
        offset: i64,
        /// The end of the time in which the token is accepted, exclusive.
        until: UnixTime,
    },
    /// By a session, which began with a token or a link.
    Session,
    /// By a link for one login, which somebody with access to the store has made.
    Link,
}

impl Proof {
    /// Returns a stable name for logs; `None` if nothing was proved.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Token { .. } => Some("token"),
            Self::Session => Some("session"),
            Self::Link => Some("link"),
        }
    }
}

impl Permit {
    pub(super) fn anonymous() -> Self {
        Self(None)
    }

    pub(super) fn proven(authenticated: Authenticated) -> Self {
        Self(Some(authenticated))
    }

    /// Returns the authenticated principal, or `None` if the policy permits anyone.
    pub fn principal(&self) -> Option<PrincipalRef<'_>> {
        self.0.as_ref().map(|it| match &it.name {
            Name::Identity(identity) => identity.principal.as_ref(),
            Name::Principal(principal) => Principal::as_ref(principal),
        })
    }

    /// Returns the identity of the principal and the version of it that was checked, if it is in the
    /// store of this process.
    pub fn identity(&self) -> Option<(IdentityId, Version)> {
        match &self.0.as_ref()?.name {
            Name::Identity(identity) => Some((identity.id, identity.history.version)),
            Name::Principal(_) => None,
        }
    }

    pub(super) const fn authenticated(&self) -> Option<&Authenticated> {
        self.0.as_ref()
    }

    /// Returns what `read` returns for a value made of the principal, or `None` if the policy permits
    /// anyone. The value is made once and kept with the identity, if it is of the kind that is asked
    /// for first.
    pub fn derived<T, R>(
        &self,
        make: impl Fn(PrincipalRef<'_>) -> T,
        read: impl FnOnce(&T) -> R,
    ) -> Option<R>
    where
        T: Any + Send + Sync,
    {
        self.0.as_ref().map(|it| match &it.name {
            Name::Identity(identity) => {
                let principal = identity.principal.as_ref();
                identity.derived.read(|| make(principal), read)
            }
            Name::Principal(principal) => read(&make(Principal::as_ref(principal))),
        })
    }

    /// Returns how the principal was authenticated.
    pub fn proof(&self) -> Proof {
        self.0.as_ref().map_or(Proof::Nothing, |it| it.proof)
    }
}

/// Why an attempt is denied. The variant decides the response; the cause inside is for the log.
#[derive(Clone, Debug)]
pub enum Denial {
    /// The request has no credential.
    NoCredential,
    /// The request has no valid credential, or several.
    Malformed(Flaw),
    /// The credential is wrong. All of these denials look and cost the same.
    InvalidCredential {
        /// The cause.
        cause: DenialCause,
        /// The throttling delay that this failure starts, if any.
        delay: Option<Delay>,
    },
    /// Too many failures: the token was not evaluated.
    Throttled {
        /// The time until an attempt is evaluated again.
        retry_after: Duration,
        /// The throttled party.
        whom: Throttled,
    },
    /// The principal is authenticated, but the policy does not admit it.
    NotAllowed,
    /// The store failed.
    Unavailable(StoreError),
}

/// Why a well-formed credential is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialCause {
    /// There is no such principal.
    Unknown,
    /// The identity is disabled.
    Disabled,
    /// The identity is not valid yet.
    NotYetValid,
    /// The identity has expired.
    Expired,
    /// The stored seed cannot be decrypted, so no token matches.
    BrokenSeed,
    /// The token matches no step in the window.
    WrongToken,
    /// The token matches a step near the window: it is late, or a clock is off.
    OutsideWindow {
        /// The distance of that step from the current one; negative if it is earlier.
        steps: i64,
    },
    /// The token is correct, but its step was used before (RFC 6238 §5.2).
    AlreadyUsed,
}

impl DenialCause {
    /// Returns whether the identity may not authenticate now, whatever the token.
    pub const fn is_of_terms(self) -> bool {
        matches!(self, Self::Disabled | Self::NotYetValid | Self::Expired)
    }

    /// Returns a short, stable code for logs and metrics, listed in `docs/reasons.md`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_principal",
            Self::Disabled => "disabled",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::BrokenSeed => "broken_seed",
            Self::WrongToken => "wrong_token",
            Self::OutsideWindow { .. } => "outside_window",
            Self::AlreadyUsed => "replayed",
        }
    }
}

impl Denial {
    /// Returns a short, stable code for logs and metrics, listed in `docs/reasons.md`.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::Malformed(_) => "malformed_credential",
            Self::InvalidCredential { cause, .. } => cause.reason(),
            Self::Throttled { .. } => "throttled",
            Self::NotAllowed => "not_allowed",
            Self::Unavailable(_) => "store_unavailable",
        }
    }
}
