use std::sync::Arc;

use async_trait::async_trait;

pub use super::counts::{Counts, UsageBatch};
use super::creation::{Created, Creation, ImportedIdentity, NewIdentity};
use super::id::IdentityId;
use super::identity::{Identity, State, Version};
use super::listing::{Condition, Listing, Page, RealmCount, RealmTotals, Rows, Selection, Tally};
use super::node::Nodes;
use super::principal::{Principal, PrincipalRef};
use super::rare::Terms;
use super::seed::Seed;
use super::session::{Session, SessionId};
pub use super::store_error::{ChangeError, StoreError};
use super::throttle::{Claim, ClaimOutcome};
use super::time::UnixTime;
use super::totp::Step;

/// The changes after a position of the change log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesAfter {
    /// The principals that changed, oldest first; `None` if the log does not reach back to the
    /// position, so that any principal may have changed.
    pub changed: Option<Vec<Principal>>,
    /// The position to go on from.
    pub last: i64,
}

/// The outcome of importing one identity.
#[derive(Clone, Debug)]
pub enum Imported {
    /// It was imported under this ID.
    Under(IdentityId),
    /// This existing identity has its name and realm.
    Taken(Arc<Identity>),
}

/// The changes to an identity; `None` leaves a value as it is.
#[derive(Debug, Default)]
pub struct Change {
    /// The new name, one that [`Principal::new`] accepts.
    pub name: Option<Box<str>>,
    /// The new realm, likewise.
    pub realm: Option<Box<str>>,
    /// The new seed.
    pub seed: Option<Seed>,
    /// With a new seed: until when tokens of the current one are accepted too.
    pub grace: Option<UnixTime>,
    /// The new state.
    pub state: Option<State>,
    /// The new validity period.
    pub terms: Option<Terms>,
    /// Whether earlier failures are reset, and used steps that cannot be read.
    pub unthrottle: bool,
    /// The version that the identity must have; any if `None`.
    pub expected: Option<Version>,
}

/// The outcome of a change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The name and realm right before.
    pub was: Principal,
    /// The identity after the change.
    pub identity: Arc<Identity>,
}

/// A deleted row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Its name and realm; `None` if no identity can have them, because somebody has written them
    /// with SQL.
    pub principal: Option<Principal>,
}

/// The memory lookup of a principal.
#[derive(Clone, Debug)]
pub enum Recall {
    /// The identity is in memory.
    Known(Arc<Identity>),
    /// It is known that no such identity exists.
    Unknown,
    /// Not in memory: call [`Identities::identity`].
    Nothing,
}

/// Reads identities for decisions.
#[async_trait]
pub trait Identities: Send + Sync {
    /// Looks a principal up in memory, without waiting or allocating.
    fn recall(&self, who: PrincipalRef<'_>) -> Recall;

    /// Does the remaining work of looking up an unknown principal, for one that is in memory, so
    /// that the duration of a rejection does not tell them apart.
    fn recall_unknown(&self, who: PrincipalRef<'_>);

    /// Returns the identity of a principal, or `None`. If the identity changes at the same moment,
    /// its seeds may already be dropped.
    ///
    /// # Errors
    /// [`StoreError`]: the store cannot decide, and no attempt may pass.
    async fn identity(&self, who: PrincipalRef<'_>) -> Result<Option<Arc<Identity>>, StoreError>;

    /// Returns whether the last read from the database failed. [`Self::identity`] may then have
    /// returned what was known before.
    fn is_failing(&self) -> bool {
        false
    }

    /// Returns once the store has responded.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Keeps one-time use and failure counts across processes and restarts.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Returns the time by the clock that dates failures, when the clock of this node shows `now`. A jump
    /// of that clock does not move it.
    fn failure_time(&self, now: UnixTime) -> UnixTime {
        now
    }

    /// Uses the step of a one-time token. Returns `false` if it was used before. `window` is the
    /// number of steps accepted on each side. The use is durable when this returns `true`, and of
    /// two concurrent uses one succeeds.
    ///
    /// # Errors
    /// [`StoreError`]: the attempt may not pass.
    async fn use_step(&self, id: IdentityId, step: Step, window: u8) -> Result<bool, StoreError>;

    /// Returns the failure counts that any process has saved after the stamp `after` (0 for all),
    /// and the key of their tags.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn counts(&self, after: i64) -> Result<Counts, StoreError>;

    /// Saves the failure counts and uses that decisions have recorded.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn save(&self, batch: UsageBatch) -> Result<(), StoreError>;

    /// Returns whether nodes on several machines may share the store, so that they need claims.
    fn has_claims(&self) -> bool {
        false
    }

    /// Claims the right to evaluate one more attempt, until [`Self::end`] is called. Times are those
    /// of the clock of the store.
    ///
    /// # Errors
    /// [`StoreError`]: the attempt may not be evaluated.
    async fn claim(&self, _claim: Claim) -> Result<ClaimOutcome, StoreError> {
        Ok(ClaimOutcome::Granted(0))
    }

    /// Ends the claim that was granted with this number. After a guess, nobody gets the right again
    /// before the delay is over. Otherwise it is free at once, unless another process has it by now.
    ///
    /// # Errors
    /// [`StoreError`]: it ends by itself.
    async fn end(&self, _claim: Claim, _granted: i64, _is_guess: bool) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Administration of identities.
#[async_trait]
pub trait Administration: Send + Sync {
    /// Returns the identity with an ID, or `None`.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Row`] if the row is no identity.
    async fn identity_by_id(&self, id: IdentityId) -> Result<Option<Arc<Identity>>, StoreError>;

    /// Returns the selected identities with the lowest IDs above `after`, in ascending order: those of
    /// at most `limit` rows.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn identities(
        &self,
        selection: &Selection,
        after: IdentityId,
        limit: u32,
    ) -> Result<Rows, StoreError>;

    /// Returns a page of a sorted list, after a bounded search.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list(&self, _listing: &Listing) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }

    /// Counts the identities that meet a condition, by a bounded search.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count(&self, _condition: Condition, _now: UnixTime) -> Result<Tally, StoreError> {
        Err(StoreError::Closed)
    }

    /// Returns identities whose used steps cannot be read, because somebody has written them with SQL:
    /// those with the lowest IDs, at most 100.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn bad_steps(&self) -> Result<Vec<IdentityId>, StoreError> {
        Err(StoreError::Closed)
    }

    /// Registers an identity and returns it.
    ///
    /// # Errors
    /// [`ChangeError`]: the principal is taken, or the store failed.
    async fn create(&self, new: NewIdentity, now: UnixTime) -> Result<Arc<Identity>, ChangeError>;

    /// Reserves the IDs up to and including `last` for imported identities.
    ///
    /// # Errors
    /// [`ChangeError`].
    async fn reserve(&self, last: IdentityId) -> Result<(), ChangeError>;

    /// Imports identities of another system, all in one transaction or none, and returns the
    /// outcome of each in their order. An identity whose ID is taken gets a new one.
    ///
    /// # Errors
    /// [`ChangeError`].
    async fn import(
        &self,
        identities: Vec<ImportedIdentity>,
        now: UnixTime,
    ) -> Result<Vec<Imported>, ChangeError>;

    /// Changes an identity. Returns `None` if there is none with this ID.
    ///
    /// # Errors
    /// [`ChangeError`]: the new principal is taken, or the store failed.
    async fn update(
        &self,
        id: IdentityId,
        change: Change,
        now: UnixTime,
    ) -> Result<Option<Changed>, ChangeError>;

    /// Registers identities in one transaction, and returns the outcome of each in their order.
    ///
    /// # Errors
    /// [`ChangeError`]: none was registered.
    async fn create_all(
        &self,
        creations: Vec<Creation>,
        now: UnixTime,
    ) -> Result<Vec<Created>, ChangeError>;

    /// Deletes an identity, or a row that is none. Returns `None` if there is none with this ID. With
    /// `expected`, only if it has that version.
    ///
    /// # Errors
    /// [`ChangeError`]: it has another version, or the store failed.
    async fn delete(
        &self,
        id: IdentityId,
        expected: Option<Version>,
    ) -> Result<Option<Deleted>, ChangeError>;

    /// Returns the realms that sort after `after`, at most `limit`, with the number of their
    /// identities.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn realms(&self, after: &str, limit: u32) -> Result<Vec<RealmCount>, StoreError>;

    /// Adds up the identities of all realms.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn totals(&self) -> Result<RealmTotals, StoreError> {
        Err(StoreError::Closed)
    }
}

/// The log of changes to identities.
#[async_trait]
pub trait ChangeLog: Send + Sync {
    /// Returns the position of the log that the cache reflects.
    fn position(&self) -> i64;

    /// Returns the changes after a position, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn changes(&self, after: i64, limit: u32) -> Result<ChangesAfter, StoreError>;
}

/// Keeps sessions, so that every process on the same store knows them.
///
/// They end when their identity is disabled, renamed or deleted, or gets another seed, whoever
/// changes it.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Adds a session, and deletes old ones. Returns `false`, and adds nothing, if the identity is
    /// disabled or has another version.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn begin_session(&self, _: Session, _: Version) -> Result<bool, StoreError> {
        Err(StoreError::Closed)
    }

    /// Returns a session or link, also one that has ended by time.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn session(&self, _id: SessionId) -> Result<Option<Session>, StoreError> {
        Err(StoreError::Closed)
    }

    /// Records the use of a session.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn see_session(&self, _id: SessionId, _now: UnixTime) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    /// Ends a session, or uses up a link, and returns it. Of two concurrent calls, one gets it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn end_session(&self, _id: SessionId) -> Result<Option<Session>, StoreError> {
        Err(StoreError::Closed)
    }

    /// Returns the latest sessions, at most `limit`, newest first. Some may have ended by time.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn sessions(&self, _limit: u32) -> Result<Vec<Session>, StoreError> {
        Err(StoreError::Closed)
    }
}

/// A complete identity store.
///
/// A write is durable when its future resolves, and every other process on the same database sees
/// it within a second. A failed write has no effect, unless the error is [`StoreError::Unknown`].
/// Only [`Counters::use_step`] returns that: other writes are bounded up to their commit, and wait
/// for its outcome.
#[async_trait]
pub trait Store: Identities + Counters + Administration + ChangeLog + Sessions + Nodes {
    /// Writes the log of the database back into its file, as far as other processes allow, and no
    /// longer records that this process serves. Must be called before the process ends.
    async fn checkpoint(&self);
}
