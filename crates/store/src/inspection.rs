//! The description of a database.

use std::time::Duration;

use crate::seal::KeyId;

/// The state of a database.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The version of its schema, 0 if it has no tables yet.
    pub schema: i64,
    /// If it has none: other schemas of a server's database that have such tables.
    pub elsewhere: Vec<String>,
    /// The latest schema that this version of realmgate supports.
    pub known: i64,
    /// The keys with which its seeds are encrypted.
    pub keys: Vec<KeyId>,
    /// The server; `None` for a file.
    pub server: Option<ServerState>,
}

/// The state of a server, as the configured role sees it.
#[derive(Clone, Debug)]
pub struct ServerState {
    /// Its version.
    pub version: String,
    /// Its address, or its socket.
    pub address: String,
    /// The role.
    pub role: String,
    /// Whether the role may do anything, in every database of the server.
    pub is_superuser: bool,
    /// The schema of the tables.
    pub schema: String,
    /// What the role lacks, such as `UPDATE on identity`.
    pub lacks: Vec<String>,
    /// The value of `sslmode`.
    pub tls_mode: &'static str,
    /// The version of TLS; `None` for a connection in plain text.
    pub tls: Option<String>,
    /// The time until the response to a small statement.
    pub round_trip: Duration,
    /// The clock of the server, minus the one of this machine, in seconds.
    pub clock: f64,
    /// The number of standbys that are connected.
    pub standbys: u64,
    /// How far the slowest one is behind; `None` if there is none, or the role may not see it.
    pub lag: Option<Duration>,
    /// The value of `synchronous_standby_names`.
    pub synchronous: String,
    /// The number of nodes that have recorded themselves in the last minute; `None` if the tables are
    /// not those of this version.
    pub nodes: Option<u64>,
    /// Who holds the lock that changes need, for longer than a change does.
    pub lock_holder: Option<String>,
    /// The number of other hosts that accept writes.
    pub other_writable: u64,
}
