use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use thiserror::Error;

use super::principal::{Principal, PrincipalRef};
use super::seed::Seed;
use super::throttle::ThrottleRecord;
use super::time::UnixTime;
use super::totp::{Parameters, Step, Totp};
use super::usage::{Usage, Use};

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
    /// From when to when it may, and what people wrote about it; most have none.
    pub terms: Option<Box<Terms>>,
    /// The seed before the present one, while it counts.
    pub previous: Option<Box<Previous>>,
    /// Failures before this no longer count against it.
    pub pardoned: UnixTime,
    /// How it has been used.
    pub usage: Usage,
    /// What figures know its realm by, looked up once.
    pub realm_number: OnceLock<u8>,
    /// When it was registered.
    pub created: UnixTime,
    /// When it was last changed.
    pub updated: UnixTime,
}

/// The seed that an identity had before the present one.
#[derive(Debug)]
pub struct Previous {
    /// Ready to check tokens.
    pub totp: Totp,
    /// When it ceases to count.
    pub until: UnixTime,
}

impl Identity {
    /// Returns when it may authenticate, besides its state.
    pub fn terms(&self) -> &Terms {
        self.terms.as_deref().unwrap_or(&Terms::NONE)
    }

    /// Returns the seed before the present one, if it still counts.
    pub fn previous(&self, now: UnixTime) -> Option<&Totp> {
        let previous = self.previous.as_ref()?;
        (now < previous.until).then_some(&previous.totp)
    }
}

/// When an identity may authenticate, besides its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Not before this.
    pub not_before: Option<UnixTime>,
    /// Not from this on.
    pub expires: Option<UnixTime>,
    /// What people wrote about it, at most [`Terms::COMMENT_CHARS`] characters.
    pub comment: Option<Box<str>>,
}

impl Terms {
    /// The most characters of a comment.
    pub const COMMENT_CHARS: usize = 256;

    /// Always, and nothing was written.
    pub const NONE: Self = Self {
        not_before: None,
        expires: None,
        comment: None,
    };

    /// Returns them as an identity holds them: in no room if there are none.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::NONE).then(|| Box::new(self))
    }
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

    /// Does for a principal that memory knows the rest of what is done for one that it holds to be unknown,
    /// so that the time of a refusal does not tell them apart.
    fn recall_unknown(&self, who: PrincipalRef<'_>);

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
