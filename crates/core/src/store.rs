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
    /// Whether failures until now shall no longer count.
    pub is_pardoned: bool,
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

/// What a decision reads.
#[async_trait]
pub trait Identities: Send + Sync {
    /// Says what memory holds, without waiting and without an allocation.
    fn recall(&self, who: PrincipalRef<'_>) -> Recall;

    /// Does for a principal that memory knows the rest of what is done for one that it holds to be unknown,
    /// so that the time of a refusal does not tell them apart.
    fn recall_unknown(&self, who: PrincipalRef<'_>);

    /// Returns the identity of a principal, or none. Its seeds may be forgotten meanwhile, if it is changed
    /// at the same moment.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot say: then nobody may pass.
    async fn identity(&self, who: PrincipalRef<'_>) -> Result<Option<Arc<Identity>>, StoreError>;
}

/// What guards tokens across processes and restarts: one-time use, and counts of failures.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Spends the step of an identity's token, where one-time use is asked for; says whether it was to be
    /// had. `window` is how many steps are accepted on each side. Durable before it says yes, and of two at
    /// the same time one gets it.
    ///
    /// # Errors
    /// [`StoreError`]; then nobody may pass.
    async fn spend(&self, id: IdentityId, step: Step, window: u8) -> Result<bool, StoreError>;

    /// Returns the counts of failures that any process has saved after the stamp `after`, and the key that
    /// they are of; after 0, all of them.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn counts(&self, after: i64) -> Result<Counts, StoreError>;

    /// Saves what has been noted on the side.
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

/// Where identities live. The core asks it; the application implements it.
///
/// Every write is durable when its future resolves, and felt by every other process on the same
/// database within a second. One that fails did not happen, unless the error is [`StoreError::Unknown`], which
/// [`Store::spend`] alone returns: the waits of other writes are bounded up to their commit only.
#[async_trait]
pub trait Store: Identities + Counters + Administration {
    /// Writes everything into the database file itself, as far as others who use it allow. To be called before
    /// the process ends.
    async fn checkpoint(&self);

    /// Resolves if the store answers.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Counts of failures, as they were saved.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The key of the hashes that stand for who is counted.
    pub key: [u8; 16],
    /// The counts.
    pub records: Vec<ThrottleRecord>,
    /// The stamp of the last of them.
    pub stamp: i64,
}

/// What is noted beside decisions and saved in batches.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Counts of failures.
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
