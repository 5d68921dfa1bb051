//! Reads the change log, which records the commits of all processes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_sqlite::Object;
use rusqlite::{Connection, OptionalExtension};

use super::cutter::Cutter;
use super::pool::interact;
use super::rows::principal;
use super::watch::Watch;
use crate::database::{Changes, News, Seq, Tail};
use crate::key_ring::KeyRing;
use crate::seal::KeyId;
use realmgate_core::StoreError;

/// The number of entries kept in the change log. A process that falls further behind drops its
/// whole cache.
const CHANGES_KEPT: i64 = 100_000;

/// Follows the change log on a connection of its own.
pub(super) struct SqliteTail {
    connection: Object,
    ring: Arc<KeyRing>,
    watch: Arc<Watch>,
    cutter: Cutter,
    data_version: Option<i64>,
    named: Vec<KeyId>,
    timeout: Duration,
}

impl SqliteTail {
    pub(super) fn new(
        connection: Object,
        ring: Arc<KeyRing>,
        (watch, cutter): (Arc<Watch>, Cutter),
        timeout: Duration,
    ) -> Self {
        Self {
            connection,
            ring,
            watch,
            cutter,
            data_version: None,
            named: Vec::new(),
            timeout,
        }
    }
}

#[async_trait]
impl Tail for SqliteTail {
    /// Without a commit since the last call, this reads a single number, and the key file if it has
    /// changed.
    async fn news(&mut self, seen: Seq) -> Result<News, StoreError> {
        self.watch.look()?;
        self.cutter.look();
        let known = self.data_version;
        let (ring, named) = (Arc::clone(&self.ring), self.named.clone());
        let (version, named, news) = interact(&self.connection, self.timeout, move |connection| {
            // Read before the log, so that the next call notices a commit in between.
            let version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
            if Some(version) == known {
                ring.refresh(&named);
                return Ok((version, named, News::default()));
            }
            let snapshot = connection.transaction()?;
            let named = named_by(&snapshot)?;
            ring.refresh(&named);
            let is_missing = |id: &&KeyId| ring.find(**id).is_none();
            let news = News {
                changes: changes_since(&snapshot, seen, u32::MAX)?,
                missing: named.iter().filter(is_missing).copied().collect(),
            };
            Ok((version, named, news))
        })
        .await?;
        self.data_version = Some(version);
        self.named = named;
        Ok(news)
    }
}

/// Returns the keys that the database names.
fn named_by(snapshot: &Connection) -> rusqlite::Result<Vec<KeyId>> {
    snapshot
        .prepare_cached("SELECT id FROM sealing_key")?
        .query_map((), |row| row.get(0).map(KeyId))?
        .collect()
}

/// Reads up to `limit` changes after a position.
pub(super) fn changes_since(
    snapshot: &Connection,
    seen: Seq,
    limit: u32,
) -> rusqlite::Result<Changes> {
    let last = last_seq(snapshot)?;
    if last == seen {
        return Ok(Changes::None);
    }
    let first: Option<i64> =
        snapshot.query_row("SELECT min(seq) FROM change", (), |row| row.get(0))?;
    // The log was trimmed, or it is shorter than before, as after a restored backup.
    if last < seen || first.is_none_or(|first| first > seen.0 + 1) {
        return Ok(Changes::Unknown(last));
    }
    let entries = snapshot
        .prepare_cached("SELECT name, realm, seq FROM change WHERE seq > ?1 ORDER BY seq LIMIT ?2")?
        .query_map((seen.0, limit), |row| {
            // A name that is not valid, written with another program, is not in the cache.
            Ok((principal(row)?, Seq(row.get(2)?)))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let is_part = entries.len() == limit as usize;
    let reached = entries.last().map(|(_, seq)| *seq);
    let of_valid = |(who, seq): (Option<_>, Seq)| Some((who?, seq));
    let changed = entries.into_iter().filter_map(of_valid).collect();
    let last = reached.filter(|_| is_part).unwrap_or(last);
    Ok(Changes::Some(changed, last))
}

/// Deletes all but the last [`CHANGES_KEPT`] entries.
pub(super) fn trim(transaction: &Connection) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM change WHERE seq <= (SELECT max(seq) FROM change) - ?1")?
        .execute((CHANGES_KEPT,))
        .map(drop)
}

pub(super) fn last_seq(connection: &Connection) -> rusqlite::Result<Seq> {
    connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'change'")?
        .query_row((), |row| row.get(0))
        .optional()
        .map(|seq| Seq(seq.unwrap_or(0)))
}
