//! The change log: what any process has committed since.

use std::time::Duration;

use deadpool_sqlite::Object;
use rusqlite::{Connection, OptionalExtension};

use super::pool::interact;
use super::rows::principal;
use crate::auth::{Principal, StoreError};

/// The position in the change log that a reading reflects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seq(pub(super) i64);

/// What happened since a position in the change log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changes {
    /// Nothing.
    None,
    /// These principals changed, each at its position, up to the last one.
    Some(Vec<(Principal, Seq)>, Seq),
    /// More than the log remembers, up to this position.
    Unknown(Seq),
}

/// A connection of its own that notices what other connections, of any process, have committed.
pub(super) struct Tail {
    connection: Object,
    data_version: Option<i64>,
    timeout: Duration,
}

impl Tail {
    pub(super) fn new(connection: Object, timeout: Duration) -> Self {
        Self {
            connection,
            data_version: None,
            timeout,
        }
    }

    /// Says what happened since `seen`. While nothing was committed this reads one number.
    pub(super) async fn changes(&mut self, seen: Seq) -> Result<Changes, StoreError> {
        let known = self.data_version;
        let (version, changes) = interact(&self.connection, self.timeout, move |connection| {
            // Read before the log: what is committed in between shows at the next call.
            let version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
            if Some(version) == known {
                return Ok((version, Changes::None));
            }
            let snapshot = connection.transaction()?;
            Ok((version, changes_since(&snapshot, seen)?))
        })
        .await?;
        self.data_version = Some(version);
        Ok(changes)
    }
}

fn changes_since(snapshot: &Connection, seen: Seq) -> rusqlite::Result<Changes> {
    let last = last_seq(snapshot)?;
    if last == seen {
        return Ok(Changes::None);
    }
    let first: Option<i64> =
        snapshot.query_row("SELECT min(seq) FROM change", (), |row| row.get(0))?;
    // Behind the log's start, or ahead of its end, as after a restored backup.
    if last < seen || first.is_none_or(|first| first > seen.0 + 1) {
        return Ok(Changes::Unknown(last));
    }
    let changed = snapshot
        .prepare_cached("SELECT name, realm, seq FROM change WHERE seq > ?1 ORDER BY seq")?
        .query_map((seen.0,), |row| {
            let principal = principal(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?)?;
            Ok((principal, Seq(row.get(2)?)))
        })?
        .collect::<Result<_, _>>()?;
    Ok(Changes::Some(changed, last))
}

pub(super) fn last_seq(connection: &Connection) -> rusqlite::Result<Seq> {
    connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'change'")?
        .query_row((), |row| row.get(0))
        .optional()
        .map(|seq| Seq(seq.unwrap_or(0)))
}
