//! What the cache asks a database for. SQLite's answers are in `sqlite.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use realmgate_core::{
    Change, ChangeError, Changed, Counts, Identity, IdentityId, Imported, ImportedIdentity,
    NewIdentity, Notes, Principal, Selection, Step, StoreError, UnixTime,
};

use super::figures::DatabaseCounts;
use super::seal::KeyId;

/// A database that holds identities, with a log of what any process changes there.
///
/// A write is durable when its future resolves.
#[async_trait]
pub(super) trait Database: Send + Sync {
    /// Returns the counters of its operations.
    fn figures(&self) -> &DatabaseCounts;

    /// Begins to follow the change log. Returns what follows it, and its last position.
    async fn follow(&self) -> Result<(Box<dyn Tail>, Seq), StoreError>;

    /// Reads an identity, and the position of the change log that it reflects.
    async fn load(&self, who: &Principal) -> Result<Loaded, StoreError>;

    async fn load_by_id(&self, id: IdentityId) -> Result<Option<Arc<Identity>>, StoreError>;

    /// Reads the selected identities with the lowest numbers above `after`, at most `limit`, in order.
    async fn page(
        &self,
        selection: &Selection,
        after: IdentityId,
        limit: u32,
    ) -> Result<Vec<Arc<Identity>>, StoreError>;

    async fn insert(&self, new: NewIdentity, now: UnixTime) -> Result<Arc<Identity>, ChangeError>;

    /// Keeps the numbers up to this one from new identities.
    async fn reserve(&self, last: IdentityId) -> Result<(), ChangeError>;

    /// Adds those identities, in one transaction, whose principals are not here yet; returns what came of each.
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

    async fn delete(&self, id: IdentityId) -> Result<Option<Principal>, StoreError>;

    /// Uses a step once; returns whether nobody had used it.
    async fn spend(&self, id: IdentityId, step: Step, window: u8) -> Result<bool, StoreError>;

    /// Reads the counts of failures that were saved after a stamp, and their key.
    async fn counts(&self, after: i64) -> Result<Counts, StoreError>;

    async fn save(&self, notes: Notes) -> Result<(), StoreError>;

    /// Objects to the use of keys that this process cannot get.
    async fn object(&self, missing: Vec<KeyId>);

    /// Prepares for the end of the process.
    async fn checkpoint(&self);

    /// Fails if the database does not respond.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Follows the change log.
#[async_trait]
pub(super) trait Tail: Send {
    /// Returns what happened since `seen`.
    async fn news(&mut self, seen: Seq) -> Result<News, StoreError>;
}

/// A reading, and how current it is.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) as_of: Seq,
}

/// The position in the change log that a reading reflects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seq(pub(super) i64);

/// What a look at the database tells.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) changes: Changes,
    /// The keys that the database names and this process cannot get.
    pub(super) missing: Vec<KeyId>,
}

/// What happened since a position in the change log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Changes {
    /// Nothing.
    #[default]
    None,
    /// These principals changed, each at its position, up to the last one.
    Some(Vec<(Principal, Seq)>, Seq),
    /// More than the log remembers, up to this position.
    Unknown(Seq),
}
