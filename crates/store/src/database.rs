//! The trait of a database under the cache. The modules `sqlite` and `postgres` implement it.

use std::sync::Arc;

use async_trait::async_trait;
use realmgate_core::{
    Administration, Counters, Identity, Node, NodeId, Principal, SeenNodes, Sessions, StoreError,
};

use super::metrics::{DatabaseCounts, PoolMetrics};
use super::seal::KeyId;

/// A database of identities with a change log of all processes.
///
/// A write is durable when its future resolves.
#[async_trait]
pub(super) trait Database: Counters + Administration + Sessions {
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

    /// Reads up to `limit` changes after a position.
    async fn changes(&self, after: Seq, limit: u32) -> Result<Changes, StoreError>;

    /// Objects to keys that this process does not have, so that a key rotation does not switch to
    /// them.
    async fn object(&self, missing: Vec<KeyId>);

    /// Returns how often this process has gained keys.
    fn key_gains(&self) -> u64;

    /// Records that a node serves, and the position of the change log that it reflects. Nothing to
    /// do in a file, which belongs to one node.
    async fn record_node(&self, _: &Node, _: Seq) -> Result<(), StoreError> {
        Ok(())
    }

    /// Deletes the record of a node.
    async fn delete_node(&self, _: NodeId) -> Result<(), StoreError> {
        Ok(())
    }

    /// Returns the recorded nodes, in the order in which they were seen, the last one first.
    async fn nodes(&self) -> Result<SeenNodes, StoreError> {
        Ok(SeenNodes::default())
    }

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
