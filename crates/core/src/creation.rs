//! New identities.

use std::sync::Arc;

use super::id::IdentityId;
use super::identity::{Identity, State};
use super::principal::Principal;
use super::rare::Terms;
use super::seed::Seed;
use super::time::UnixTime;
use super::totp::Parameters;

/// An identity to register.
#[derive(Debug)]
pub struct NewIdentity {
    /// The name and realm.
    pub principal: Principal,
    /// The seed.
    pub seed: Seed,
    /// The TOTP parameters.
    pub parameters: Parameters,
    /// The validity period.
    pub terms: Terms,
}

impl NewIdentity {
    /// Returns an enabled identity without a number, created at `created`.
    #[must_use]
    pub fn created_at(self, created: UnixTime) -> ImportedIdentity {
        ImportedIdentity {
            id: None,
            principal: self.principal,
            seed: self.seed,
            parameters: self.parameters,
            state: State::Enabled,
            terms: self.terms,
            created,
        }
    }
}

/// An identity to import from another system.
#[derive(Debug)]
pub struct ImportedIdentity {
    /// The ID to keep; `None` for a new one.
    pub id: Option<IdentityId>,
    /// The name and realm.
    pub principal: Principal,
    /// The seed.
    pub seed: Seed,
    /// The TOTP parameters.
    pub parameters: Parameters,
    /// The state.
    pub state: State,
    /// The validity period.
    pub terms: Terms,
    /// When it was registered in the other system.
    pub created: UnixTime,
}

/// An identity to register as one of many.
#[derive(Debug)]
pub struct Creation {
    /// The identity.
    pub new: NewIdentity,
    /// Recognizes the same request when it is repeated.
    pub once: Option<Once>,
}

/// Recognizes a repeated creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// A hash of the caller and of the key that it chose.
    pub key: [u8; 32],
    /// A hash of the content of the request.
    pub content: [u8; 32],
}

/// How long a [`Once`] is remembered, in seconds.
pub const REMEMBERED: u64 = 24 * 60 * 60;

/// The outcome of registering one of many identities.
#[derive(Clone, Debug)]
pub enum Created {
    /// It was registered.
    New(Arc<Identity>),
    /// The same request registered it before. Its seed may have been rotated since.
    Before(Arc<Identity>),
    /// The same request registered it before, and it was deleted since.
    Deleted,
    /// The key belongs to a request with other content.
    OtherContent,
    /// Another identity has that name in that realm.
    Taken,
}
