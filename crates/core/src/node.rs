//! The nodes that serve on one store.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::seed::SeedError;
use super::store_error::StoreError;
use super::time::UnixTime;

/// The random number of a process, which distinguishes nodes of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 8]);

impl NodeId {
    /// Makes one with the random number generator of the operating system.
    ///
    /// # Errors
    /// [`SeedError::NoRandom`] if the generator fails.
    pub fn generate() -> Result<Self, SeedError> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|_| SeedError::NoRandom)?;
        Ok(Self(bytes))
    }
}

/// Formats 16 hexadecimal digits.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A process that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its configured name, 1 to 64 bytes. Several may have the same.
    pub name: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// When it started, by its own clock.
    pub started: UnixTime,
    /// The digest of its configuration.
    pub config: Box<str>,
    /// When it loaded its configuration, by its own clock.
    pub loaded: UnixTime,
}

/// A node as it last recorded itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenNode {
    /// The node.
    pub node: Node,
    /// The time since then, by the clock of the database.
    pub age: Duration,
    /// The position of the change log that its cache reflected.
    pub position: i64,
    /// The number of entries that the change log had after that position.
    pub behind: u64,
}

impl SeenNode {
    /// The age from which on a node counts as missing: three records are missing.
    pub const MISSING: Duration = Duration::from_secs(30);

    /// Returns whether it has not recorded itself for longer than [`Self::MISSING`].
    pub fn is_missing(&self) -> bool {
        self.age > Self::MISSING
    }
}

/// The nodes that serve on one store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenNodes {
    /// At most [`MOST_NODES`], those that were seen last.
    pub nodes: Vec<SeenNode>,
    /// The number of all nodes.
    pub total: u64,
}

impl From<Option<SeenNode>> for SeenNodes {
    fn from(node: Option<SeenNode>) -> Self {
        let nodes: Vec<_> = node.into_iter().collect();
        let total = nodes.len() as u64;
        Self { nodes, total }
    }
}

/// Knows the nodes that serve on one store.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Records from now on that this process serves, until the store is closed. Another call
    /// replaces the description.
    fn serve_as(&self, _: Node) {}

    /// Returns this process, if it serves, without reading the database.
    fn this_node(&self) -> Option<SeenNode> {
        None
    }

    /// Returns the nodes, sorted by name. A store in a file knows this process only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn nodes(&self) -> Result<SeenNodes, StoreError> {
        Ok(self.this_node().into())
    }
}

/// The maximum number of nodes that are listed.
pub const MOST_NODES: u16 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_missing_after_half_a_minute() {
        let node = Node {
            id: NodeId([0, 1, 2, 3, 0xab, 0xcd, 0xef, 0xff]),
            name: "a".into(),
            version: "1".into(),
            started: UnixTime::from_secs(0),
            config: "".into(),
            loaded: UnixTime::from_secs(0),
        };
        assert_eq!(node.id.to_string(), "00010203abcdefff");
        let seen = |millis| SeenNode {
            node: node.clone(),
            age: Duration::from_millis(millis),
            position: 0,
            behind: 0,
        };
        assert!(!seen(0).is_missing() && !seen(30_000).is_missing());
        assert!(seen(30_001).is_missing());
    }
}
