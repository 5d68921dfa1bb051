use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use super::id::IdentityId;
use super::identity::{Identity, State, Terms};
use super::principal::{Principal, PrincipalRef};
use super::seed::Seed;
use super::throttle::ThrottleRecord;
use super::time::UnixTime;
use super::totp::{Parameters, Step};
use super::usage::Use;

/// An identity to register.
#[derive(Debug)]
pub struct NewIdentity {
    /// Who it is.
    pub principal: Principal,
    /// Its seed.
    pub seed: Seed,
    /// How it makes tokens.
    pub parameters: Parameters,
    /// When it may authenticate.
    pub terms: Terms,
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
    /// When it may authenticate, besides.
    pub terms: Terms,
    /// When it was registered there.
    pub created: UnixTime,
}

/// What came of an identity that was to be taken over.
#[derive(Clone, Debug)]
pub enum Imported {
    /// It is here, under this number.
    Under(IdentityId),
    /// This one is here already and has its name.
    Taken(Arc<Identity>),
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
    /// With another seed: until when the present one goes on counting besides.
    pub grace: Option<UnixTime>,
    /// Another state.
    pub state: Option<State>,
    /// Other terms.
    pub terms: Option<Terms>,
    /// Whether failures until now are to be reset.
    pub unthrottle: bool,
}

/// What came of a change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Who the identity was right before.
    pub was: Principal,
    /// What it is now.
    pub identity: Arc<Identity>,
}

/// Which identities are meant; what is none does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those in this realm.
    pub realm: Option<Box<str>>,
    /// Those whose names begin with this.
    pub name: Option<Box<str>>,
}

/// What memory says of a principal, without asking the database.
#[derive(Clone, Debug)]
pub enum Recall {
    /// This identity.
    Known(Arc<Identity>),
    /// No such identity.
    Unknown,
    /// Nothing: ask [`Identities::identity`].
    Nothing,
}

/// Reads identities for decisions.
#[async_trait]
pub trait Identities: Send + Sync {
    /// Returns what memory holds of a principal, without waiting and without an allocation.
    fn recall(&self, who: PrincipalRef<'_>) -> Recall;

    /// Does the rest of the work of a lookup of an unknown principal, for a principal that memory knows, so that the
    /// time of a refusal does not tell them apart.
    fn recall_unknown(&self, who: PrincipalRef<'_>);

    /// Returns the identity of a principal, or none. If the identity changes at the same moment, its seeds may be
    /// dropped already.
    ///
    /// # Errors
    /// [`StoreError`]: the store cannot decide, and nobody may pass.
    async fn identity(&self, who: PrincipalRef<'_>) -> Result<Option<Arc<Identity>>, StoreError>;

    /// Resolves if the store responds.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Keeps one-time use and failure counts across processes and restarts.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Uses the step of a token for one-time use. Returns false if it was used before. `window` is how many steps are
    /// accepted on each side. The use is durable when this returns true, and of two concurrent uses one succeeds.
    ///
    /// # Errors
    /// [`StoreError`]: then nobody may pass.
    async fn use_step(&self, id: IdentityId, step: Step, window: u8) -> Result<bool, StoreError>;

    /// Returns the failure counts that any process has saved after the stamp `after` (0 for all of them), and the key
    /// of their tags.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn counts(&self, after: i64) -> Result<Counts, StoreError>;

    /// Saves what decisions have recorded.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn save(&self, notes: Notes) -> Result<(), StoreError>;
}

/// Administration of identities.
#[async_trait]
pub trait Administration: Send + Sync {
    /// Returns the identity of a number, or none.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn identity_by_id(&self, id: IdentityId) -> Result<Option<Arc<Identity>>, StoreError>;

    /// Returns of the selected identities those with the lowest numbers above `after`, at most `limit`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn identities(
        &self,
        selection: &Selection,
        after: IdentityId,
        limit: u32,
    ) -> Result<Vec<Arc<Identity>>, StoreError>;

    /// Registers an identity and returns it.
    ///
    /// # Errors
    /// [`ChangeError`]: the principal is taken, or the store failed.
    async fn create(&self, new: NewIdentity, now: UnixTime) -> Result<Arc<Identity>, ChangeError>;

    /// Keeps the numbers up to this one from identities that are created later, for those that are taken over.
    ///
    /// # Errors
    /// [`ChangeError`].
    async fn reserve(&self, last: IdentityId) -> Result<(), ChangeError>;

    /// Takes over identities of another system, and returns in their order what came of each: all in one
    /// transaction, or none. One whose number is taken gets a new one.
    ///
    /// # Errors
    /// [`ChangeError`].
    async fn import(
        &self,
        identities: Vec<ImportedIdentity>,
        now: UnixTime,
    ) -> Result<Vec<Imported>, ChangeError>;

    /// Changes an identity, or returns none if there is no such number.
    ///
    /// # Errors
    /// [`ChangeError`]: the new principal is taken, or the store failed.
    async fn update(
        &self,
        id: IdentityId,
        change: Change,
        now: UnixTime,
    ) -> Result<Option<Changed>, ChangeError>;

    /// Removes an identity and returns who it was, or none if there is no such number.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delete(&self, id: IdentityId) -> Result<Option<Principal>, StoreError>;
}

/// The whole store of identities.
///
/// A write is durable when its future resolves, and every other process on the same database sees it within a
/// second. A write that fails did not happen, unless the error is [`StoreError::Unknown`]. Only
/// [`Counters::use_step`] returns that: other writes are bounded up to their commit, and wait for its outcome.
#[async_trait]
pub trait Store: Identities + Counters + Administration {
    /// Writes everything into the database file itself, as far as other processes allow. Call it before the process
    /// ends.
    async fn checkpoint(&self);
}

/// Saved failure counts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The key of the hashes that are the tags of records.
    pub key: [u8; 16],
    /// The records.
    pub records: Vec<ThrottleRecord>,
    /// The stamp of the last record.
    pub stamp: i64,
}

/// What decisions have recorded, to be saved in one batch.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Failure counts.
    pub counts: Vec<ThrottleRecord>,
    /// Uses of identities.
    pub uses: Vec<Use>,
}

/// Why the store cannot say or do something. Never holds a seed or a token.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// No connection was free, or no answer came, within the configured time. A write did not happen.
    #[error("the store did not answer in time")]
    Timeout,
    /// It was too late to take a write back, and its outcome was not known within the longest wait.
    #[error("the store has not confirmed in time that it was done; it may have been")]
    Unknown,
    /// The database refused or failed.
    #[error("the store failed: {0}")]
    Database(Arc<str>),
    /// A seed could not be sealed or a random number not be had.
    #[error("the seed could not be made or sealed: {0}")]
    Seal(Arc<str>),
    /// A file of the database was deleted or replaced; which, and how. Nothing is read or written until a restart.
    #[error("{0} while it was in use")]
    Lost(Arc<str>),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Says whether a file of the database was deleted or replaced. That is logged once, and stays so.
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
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
