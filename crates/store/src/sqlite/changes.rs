//! The change log: what any process has committed since.

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
use crate::ring::Ring;
use crate::seal::KeyId;
use realmgate_core::StoreError;

/// How many entries of the change log are kept: more than a process can fall behind by while it
/// still answers; one that did drops its whole cache.
const CHANGES_KEPT: i64 = 100_000;

/// A connection of its own that notices what other connections, of any process, have committed.
pub(super) struct SqliteTail {
    connection: Object,
    ring: Arc<Ring>,
    watch: Arc<Watch>,
    cutter: Cutter,
    data_version: Option<i64>,
    timeout: Duration,
}

impl SqliteTail {
    pub(super) fn new(
        connection: Object,
        ring: Arc<Ring>,
        (watch, cutter): (Arc<Watch>, Cutter),
        timeout: Duration,
    ) -> Self {
        Self {
            connection,
            ring,
            watch,
            cutter,
            data_version: None,
            timeout,
        }
    }
}

#[async_trait]
impl Tail for SqliteTail {
    /// While nothing was committed this reads one number.
    async fn news(&mut self, seen: Seq) -> Result<News, StoreError> {
        self.watch.look()?;
        self.cutter.look();
        let known = self.data_version;
        let ring = Arc::clone(&self.ring);
        let (version, news) = interact(&self.connection, self.timeout, move |connection| {
            // Read before the log: what is committed in between shows at the next call.
            let version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
            if Some(version) == known {
                return Ok((version, News::default()));
            }
            let snapshot = connection.transaction()?;
            let news = News {
                changes: changes_since(&snapshot, seen)?,
                missing: missing(&snapshot, &ring)?,
            };
            Ok((version, news))
        })
        .await?;
        self.data_version = Some(version);
        Ok(news)
    }
}

/// Looks for the keys that the database names, and returns those that are not to be had.
fn missing(snapshot: &Connection, ring: &Ring) -> rusqlite::Result<Vec<KeyId>> {
    let named: Vec<_> = snapshot
        .prepare_cached("SELECT id FROM sealing_key")?
        .query_map((), |row| row.get(0).map(KeyId))?
        .collect::<Result<_, _>>()?;
    ring.refresh(&named);
    let is_missing = |id: &KeyId| ring.find(*id).is_none();
    Ok(named.into_iter().filter(is_missing).collect())
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

/// Lets go of what is older than [`CHANGES_KEPT`].
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
