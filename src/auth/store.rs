use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use super::principal::{Principal, PrincipalRef};
use super::seed::Seed;
use super::time::UnixTime;
use super::totp::{Parameters, Totp};

/// The number the store gives an identity; the old API's `id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityId(pub i64);

/// Whether an identity may authenticate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It may.
    #[default]
    Enabled,
    /// It may not, until enabled again.
    Disabled,
}

/// The stored record of a principal.
#[derive(Debug)]
pub struct Identity {
    /// Its number.
    pub id: IdentityId,
    /// Who it is.
    pub principal: Principal,
    /// Its seed, ready to check tokens; none if it cannot be opened, and then every token is refused.
    pub totp: Option<Totp>,
    /// How it makes tokens.
    pub parameters: Parameters,
    /// Whether it may authenticate.
    pub state: State,
    /// When it was registered.
    pub created: UnixTime,
    /// When it was last changed.
    pub updated: UnixTime,
}

/// An identity to register.
#[derive(Debug)]
pub struct NewIdentity {
    /// Who it is.
    pub principal: Principal,
    /// Its seed.
    pub seed: Seed,
    /// How it makes tokens.
    pub parameters: Parameters,
}

/// An identity of another system, to be taken over.
#[derive(Debug)]
pub struct ImportedIdentity {
    /// The number it keeps; none for a new one.
    pub id: Option<IdentityId>,
    /// Who it is.
    pub principal: Principal,
    /// Its seed.
    pub seed: Seed,
    /// How it makes tokens.
    pub parameters: Parameters,
    /// Whether it may authenticate.
    pub state: State,
    /// When it was registered there.
    pub created: UnixTime,
}

/// What to change of an identity; what is none stays.
#[derive(Debug, Default)]
pub struct Change {
    /// Another name: one that [`Principal::new`] takes.
    pub name: Option<Box<str>>,
    /// Another realm, likewise.
    pub realm: Option<Box<str>>,
    /// Another seed.
    pub seed: Option<Seed>,
    /// Another state.
    pub state: Option<State>,
}

/// What memory says of a principal, without asking the database.
#[derive(Clone, Debug)]
pub enum Recall {
    /// This identity.
    Known(Arc<Identity>),
    /// No such identity.
    Unknown,
    /// Nothing: ask [`Store::identity`].
    Nothing,
}

/// Where identities live. The core asks it; `crate::store` implements it.
///
/// Every write is durable when its future resolves, and felt by every other process on the same
/// database within a second.
#[async_trait]
pub trait Store: Send + Sync {
    /// Says what memory holds, without waiting and without an allocation.
    fn recall(&self, who: PrincipalRef<'_>) -> Recall;

    /// Returns the identity of a principal, or none.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot say: then nobody may pass.
    async fn identity(&self, who: PrincipalRef<'_>) -> Result<Option<Arc<Identity>>, StoreError>;

    /// Returns the identity of a number, or none.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn identity_by_id(&self, id: IdentityId) -> Result<Option<Arc<Identity>>, StoreError>;

    /// Returns the identities with the lowest numbers above `after`, at most `limit`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn identities(
        &self,
        after: IdentityId,
        limit: u32,
    ) -> Result<Vec<Arc<Identity>>, StoreError>;

    /// Registers an identity and returns it.
    ///
    /// # Errors
    /// [`ChangeError`]: the principal is taken, or the store failed.
    async fn create(&self, new: NewIdentity, now: UnixTime) -> Result<Arc<Identity>, ChangeError>;

    /// Takes over identities of another system: all of them, or none.
    ///
    /// # Errors
    /// [`ChangeError`]: a principal or a number is taken, or the store failed.
    async fn import(
        &self,
        identities: Vec<ImportedIdentity>,
        now: UnixTime,
    ) -> Result<(), ChangeError>;

    /// Changes an identity and returns it, or none if there is no such number.
    ///
    /// # Errors
    /// [`ChangeError`]: the new principal is taken, or the store failed.
    async fn update(
        &self,
        id: IdentityId,
        change: Change,
        now: UnixTime,
    ) -> Result<Option<Arc<Identity>>, ChangeError>;

    /// Removes an identity; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delete(&self, id: IdentityId) -> Result<bool, StoreError>;

    /// Resolves if the store answers.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Why the store cannot say or do something. Never holds a seed or a token.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// No connection was free, or no answer came, within the configured time.
    #[error("the store did not answer in time")]
    Timeout,
    /// The database refused or failed.
    #[error("the store failed: {0}")]
    Database(Arc<str>),
    /// A seed could not be sealed or a random number not be had.
    #[error("the seed could not be made or sealed: {0}")]
    Seal(Arc<str>),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a write was not done.
#[derive(Clone, Debug, Error)]
pub enum ChangeError {
    /// Another identity has that name in that realm.
    #[error("the name is taken in that realm")]
    Taken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
