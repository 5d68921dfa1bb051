//! The server.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::effects::Effects;
use super::explained::RouteMode;
use crate::doors::v1::time::Timestamp;

/// A page of realms.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Realms {
    pub items: Vec<Realm>,
    pub next: Option<String>,
}

/// A realm with identities.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Realm {
    pub realm: String,
    /// The number of its identities.
    pub identities: u64,
    /// Those that are disabled.
    pub disabled: u64,
    /// What its principals may do over REST, besides being authenticated.
    pub capabilities: Vec<Capability>,
}

/// A right over REST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    Verify,
    Create,
    List,
    Update,
    Delete,
}

/// A page of routes, in their order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Routes {
    pub items: Vec<Route>,
    pub next: Option<String>,
}

/// A route as it is understood.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Route {
    pub name: String,
    /// Null for any.
    pub host: Option<Vec<String>>,
    /// The paths: prefixes, or with `=` in front exact ones; null for any.
    pub path: Option<Vec<String>>,
    /// Null for any.
    pub methods: Option<Vec<String>>,
    /// The networks of its clients; null for any.
    #[serde(default)]
    pub from: Option<Vec<String>>,
    /// Who may pass, in words.
    pub policy: String,
    /// Whether it enforces its policy.
    pub mode: RouteMode,
    /// The upstream, if the proxy is on.
    pub upstream: Option<Upstream>,
    /// What applications and denied clients get.
    #[serde(default)]
    pub effects: Effects,
}

/// An upstream.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Upstream {
    pub name: String,
    pub peers: Vec<String>,
}

/// The keys that encrypt the seeds. Never a key itself.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Keys {
    pub items: Vec<Key>,
}

/// A key that encrypts seeds.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Key {
    pub id: String,
    /// `current`, `next`, `announced`, `retiring`, `spare` or `unknown`.
    pub role: String,
    /// The number of seeds encrypted with it.
    pub seeds: u64,
    /// Whether this process has it.
    pub held: bool,
}

/// The last lines of the audit log of this node, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditLines {
    /// The lines as written; docs/audit.md lists their members.
    #[schema(value_type = Vec<Object>)]
    pub items: Vec<Box<RawValue>>,
    /// The cursor of the lines before; null at the beginning of the file.
    pub next: Option<String>,
}

/// The state of this node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The name of the node, `server.node`.
    pub node: String,
    pub version: String,
    pub started: Timestamp,
    /// The clock of the node.
    pub now: Timestamp,
    pub store: Store,
    pub throttled: Vec<Throttled>,
    pub routes: u64,
    pub upstreams: u64,
    /// The identities of all realms; null while the store cannot be read.
    #[serde(default)]
    pub identities: Option<Totals>,
    /// The nodes that serve on the store, sorted by name; the 200 that were seen last. Only this one
    /// if the store is a file, and while the store cannot be read.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub nodes: Vec<Node>,
    /// The number of all nodes. If it is above 200, `nodes` lacks those that were not seen for the longest time.
    #[serde(default)]
    pub nodes_total: u64,
}

impl Status {
    /// Returns the number of nodes that `nodes` lacks.
    pub fn nodes_left_out(&self) -> u64 {
        self.nodes_total.saturating_sub(self.nodes.len() as u64)
    }
}

/// The sums of all realms.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct Totals {
    /// The number of realms that have identities.
    pub realms: u64,
    pub identities: u64,
    /// Those that are disabled.
    pub disabled: u64,
}

/// A node as it last recorded itself in the store, every 10 seconds. It stays in the list for a day after its last
/// record, unless it was shut down or a node of the same name has replaced it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// The random id of the process, 16 hexadecimal digits.
    pub id: String,
    /// Its name, `server.node`. Several nodes may have the same.
    pub name: String,
    pub version: String,
    /// When it started, by its own clock.
    pub started: Timestamp,
    /// The digest of its configuration, without `server.node` and `server.threads`.
    pub config: String,
    /// When it loaded its configuration, by its own clock.
    pub loaded: Timestamp,
    /// The seconds since its last record, by the clock of the database.
    pub age: u64,
    /// Whether its last record is older than 30 seconds.
    pub is_missing: bool,
    /// Whether it is the node that sends this.
    pub is_this: bool,
    /// The position of the change log that it reflected.
    pub position: i64,
    /// The number of changes that it had not read yet.
    pub behind: u64,
}

/// The state of the store.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Store {
    /// The database, without passwords.
    pub location: String,
    pub ready: bool,
    /// Why it is not ready.
    pub error: Option<String>,
    /// The position of the change log that this node reflects.
    pub position: i64,
}

/// How many are throttled, of a kind.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Throttled {
    /// Who is throttled. `known`: identities. `unknown`: names that no identity has. `source`: client
    /// addresses. `pair`: identities at one of their trusted addresses. `trusted`: identities at all
    /// their trusted addresses.
    pub scope: String,
    pub count: u64,
}

impl Throttled {
    /// Says how many are throttled, such as `2 addresses`.
    pub fn text(&self) -> String {
        let (one, many, place) = match &*self.scope {
            "known" => ("identity", "identities", ""),
            "unknown" => ("unknown name", "unknown names", ""),
            "source" => ("address", "addresses", ""),
            "pair" => ("identity", "identities", " at one trusted address"),
            "trusted" => ("identity", "identities", " at all trusted addresses"),
            other => (other, other, ""),
        };
        let noun = if self.count == 1 { one } else { many };
        format!("{} {noun}{place}", self.count)
    }
}
