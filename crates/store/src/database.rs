//! The trait of a database under the cache. The modules `sqlite` and `postgres` implement it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use realmgate_core::{
    Change, ChangeError, Changed, Claim, Counts, Created, Creation, Identity, IdentityId, Imported,
    ImportedIdentity, NewIdentity, Principal, RealmCount, Selection, Step, StoreError, UnixTime,
    UsageBatch, Version,
};

use super::metrics::{DatabaseCounts, PoolMetrics};
use super::seal::KeyId;

/// A database of identities with a change log of all processes.
///
/// A write is durable when its future resolves.
#[async_trait]
pub(super) trait Database: Send + Sync {
    /// Returns the counters of operations.
    fn metrics(&self) -> &DatabaseCounts;

    /// Returns the metrics of the connections; `None` if there is no server.
    fn pool(&self) -> Option<PoolMetrics> {
        None
    }

    /// Begins to follow the change log. Returns the follower and the current position.
    async fn follow(&self) -> Result<(Box<dyn Tail>, Seq), StoreError>;

    /// Reads an identity together with the position in the change log that it reflects.
    async fn load(&self, who: &Principal) -> Result<Loaded, StoreError>;

    async fn load_by_id(&self, id: IdentityId) -> Result<Option<Arc<Identity>>, StoreError>;

    /// Returns up to `limit` selected identities with numbers above `after`, in ascending order.
    async fn page(
        &self,
        selection: &Selection,
        after: IdentityId,
        limit: u32,
    ) -> Result<Vec<Arc<Identity>>, StoreError>;

    async fn insert(&self, new: NewIdentity, now: UnixTime) -> Result<Arc<Identity>, ChangeError>;

    /// Excludes the numbers up to `last` from assignment to new identities.
    async fn reserve(&self, last: IdentityId) -> Result<(), ChangeError>;

    /// Adds, in one transaction, the identities whose principals do not exist yet. Returns a result
    /// for each.
    async fn import(
        &self,
        identities: Vec<ImportedIdentity>,
        now: UnixTime,
    ) -> Result<Vec<Imported>, ChangeError>;

    async fn update(
        &self,
        id: IdentityId,
        change: Change,
        now: UnixTime,
    ) -> Result<Option<Changed>, ChangeError>;

    /// Registers identities in one transaction. Returns a result for each.
    async fn insert_all(
        &self,
        creations: Vec<Creation>,
        now: UnixTime,
    ) -> Result<Vec<Created>, ChangeError>;

    async fn delete(
        &self,
        id: IdentityId,
        expected: Option<Version>,
    ) -> Result<Option<Principal>, ChangeError>;

    /// Returns up to `limit` realms that sort after `after`.
    async fn realms(&self, after: &str, limit: u32) -> Result<Vec<RealmCount>, StoreError>;

    /// Reads up to `limit` changes after a position.
    async fn changes(&self, after: Seq, limit: u32) -> Result<Changes, StoreError>;

    /// Marks a step as used. Returns `false` if it was used before.
    async fn use_step(&self, id: IdentityId, step: Step, window: u8) -> Result<bool, StoreError>;

    /// Reads the failure counts that were saved after a stamp, and their key.
    async fn counts(&self, after: i64) -> Result<Counts, StoreError>;

    async fn save(&self, batch: UsageBatch) -> Result<(), StoreError>;

    /// Returns whether nodes on several machines may share the database.
    fn has_claims(&self) -> bool {
        false
    }

    /// Claims the right to evaluate one more attempt. Returns `None`, or for how long another node
    /// has it.
    async fn claim(&self, _claim: Claim) -> Result<Option<Duration>, StoreError> {
        Ok(None)
    }

    /// Ends a claim, after a guess only once the delay is over.
    async fn end(&self, _claim: Claim, _is_guess: bool) -> Result<(), StoreError> {
        Ok(())
    }

    /// Objects to keys that this process does not have, so that a key rotation does not switch to
    /// them.
    async fn object(&self, missing: Vec<KeyId>);

    /// Returns how often this process has gained keys.
    fn key_gains(&self) -> u64;

    /// Prepares for the end of the process, so that the database file is complete.
    async fn checkpoint(&self);

    /// Fails if the database does not respond, or if seeds need a key that this process does not
    /// have.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Follows the change log.
#[async_trait]
pub(super) trait Tail: Send {
    /// Returns what happened after the position `seen`.
    async fn news(&mut self, seen: Seq) -> Result<News, StoreError>;
}

/// A read identity and the position that it reflects.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) as_of: Seq,
}

/// A position in the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seq(pub(super) i64);

/// The result of polling the change log.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) changes: Changes,
    /// The keys that the database names and this process does not have.
    pub(super) missing: Vec<KeyId>,
}

/// The changes since a position in the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Changes {
    /// No change.
    #[default]
    None,
    /// The changed principals, each with the position of its change, and the last position.
    Some(Vec<(Principal, Seq)>, Seq),
    /// The log does not reach back far enough. Holds the last position.
    Unknown(Seq),
}
