//! Reads and changes identities.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_sqlite::Pool;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction};

use super::changes::{changes_since, last_seq};
use super::commit::{self, Patience};
use super::pool::{Access, database, interact, pool, pool_error};
use super::rows::{
    COLUMNS, TABLES, conversion, current_key, find, find_by_id, identity, principal,
};
use super::watch::Watch;
use crate::access::Way;
use crate::database::{Changes, Loaded, Seq};
use crate::key_ring::{KeyRing, KeySource};
use crate::metrics::{DatabaseCounts, Operation};
use crate::record::{Revision, sql_time};
use realmgate_core::{
    Change, ChangeError, Changed, Identity, IdentityId, Principal, RealmCount, Selection, State,
    StoreError, UnixTime, Version,
};

/// An open database with the current schema.
pub(crate) struct Sqlite {
    readers: Pool,
    pub(super) writer: Pool,
    pub(super) ring: Arc<KeyRing>,
    pub(super) tails: Pool,
    pub(super) timeout: Duration,
    pub(super) watch: Arc<Watch>,
    pub(super) counts: DatabaseCounts,
    /// Whether the last write failed.
    pub(super) writes_fail: AtomicBool,
    /// The number of failure counts saved since excess ones were last deleted.
    pub(super) unswept: AtomicUsize,
}

impl Sqlite {
    /// Makes the connection pools for a file that [`super::open`] has prepared.
    pub(super) fn new(
        path: &Path,
        readers: usize,
        timeout: Duration,
        (ring, way): (KeyRing, Way),
    ) -> Result<Self, StoreError> {
        let watch = Arc::new(Watch::new(path).map_err(|error| database(&error))?);
        let pool = |size, access| pool(path, size, timeout, (way, access), Arc::clone(&watch));
        Ok(Self {
            readers: pool(readers, Access::Read)?,
            writer: pool(1, Access::Write)?,
            tails: pool(1, Access::Read)?,
            ring: Arc::new(ring),
            timeout,
            watch,
            counts: DatabaseCounts::default(),
            writes_fail: AtomicBool::default(),
            unswept: AtomicUsize::default(),
        })
    }

    /// Returns the source of the keys.
    pub(super) fn source(&self) -> &KeySource {
        self.ring.source()
    }

    pub(super) async fn load(&self, who: &Principal) -> Result<Loaded, StoreError> {
        let ring = Arc::clone(&self.ring);
        let who = who.clone();
        self.read(move |connection| {
            // One transaction, so that the row and the position are of the same moment.
            let snapshot = connection.transaction()?;
            let identity = find(&snapshot, &ring, who.as_ref())?.map(Arc::new);
            let as_of = last_seq(&snapshot)?;
            Ok(Loaded { identity, as_of })
        })
        .await
    }

    pub(super) async fn load_by_id(
        &self,
        id: IdentityId,
    ) -> Result<Option<Arc<Identity>>, StoreError> {
        let ring = Arc::clone(&self.ring);
        self.read(move |connection| Ok(find_by_id(connection, &ring, id)?.map(Arc::new)))
            .await
    }

    pub(super) async fn page(
        &self,
        selection: &Selection,
        after: IdentityId,
        limit: u32,
    ) -> Result<Vec<Arc<Identity>>, StoreError> {
        let ring = Arc::clone(&self.ring);
        let Selection { realm, name, state } = selection.clone();
        self.read(move |connection| {
            // U+10FFFF sorts after every character of a name.
            let end = name.as_ref().map(|name| format!("{name}\u{10ffff}"));
            let mut values: Vec<&dyn ToSql> = vec![&after.0, &limit];
            // The unary plus stops SQLite from scanning by number until enough rows match.
            let mut index = "";
            let which = match (&realm, &name, &end) {
                (Some(realm), Some(name), Some(end)) => {
                    values.extend([realm as &dyn ToSql, name, end]);
                    "realm = ?3 AND name >= ?4 AND name < ?5 AND +id > ?1 ORDER BY +id"
                }
                (None, Some(name), Some(end)) => {
                    values.extend([name as &dyn ToSql, end]);
                    "name >= ?3 AND name < ?4 AND +id > ?1 ORDER BY +id"
                }
                (Some(realm), ..) => {
                    values.push(realm);
                    index = "INDEXED BY identity_by_realm";
                    "realm = ?3 AND id > ?1 ORDER BY id"
                }
                (None, ..) => "id > ?1 ORDER BY id",
            };
            // Written out, so that SQLite uses the index of disabled identities.
            let state = match state {
                None => "",
                Some(State::Enabled) => "state = 'enabled' AND",
                Some(State::Disabled) => {
                    index = "";
                    "state = 'disabled' AND"
                }
            };
            let sql = format!(
                "SELECT {COLUMNS} FROM {TABLES} WHERE id IN
                    (SELECT id FROM identity {index} WHERE {state} {which} LIMIT ?2) ORDER BY id"
            );
            connection
                .prepare_cached(&sql)?
                .query_map(&*values, |row| identity(row, &ring))?
                .map(|identity| identity.map(Arc::new))
                .collect()
        })
        .await
    }

    /// Changes an identity; `None` if it does not exist.
    pub(super) async fn update(
        &self,
        id: IdentityId,
        change: Change,
        now: UnixTime,
    ) -> Result<Option<Changed>, ChangeError> {
        let ring = Arc::clone(&self.ring);
        self.write(move |transaction| {
            let Some(old) = find_by_id(transaction, &ring, id)? else {
                return Ok(Ok(None));
            };
            let version = old.history.version;
            if change.expected.is_some_and(|expected| expected != version) {
                return Ok(Err(ChangeError::Stale));
            }
            let key = current_key(&ring, transaction)?;
            let new = Revision::of(&old, &change, &key, now).map_err(conversion)?;
            transaction
                .prepare_cached(
                    "UPDATE identity SET name = ?2, realm = ?3, seed = coalesce(?4, seed),
                        state = ?5, updated = ?6, previous_seed = ?7, previous_until = ?8,
                        not_before = ?9, expires = ?10, comment = ?11, pardoned = ?12,
                        seed_made = ?13, previous_made = ?14, revision = revision + 1 WHERE id = ?1",
                )?
                .execute((
                    id.0,
                    new.principal.name(),
                    new.principal.realm(),
                    &new.seed,
                    new.state,
                    sql_time(now),
                    &new.previous_seed,
                    new.previous_until,
                    new.terms.not_before.map(sql_time),
                    new.terms.expires.map(sql_time),
                    &new.terms.comment,
                    new.unthrottled,
                    new.seed_made,
                    new.previous_made,
                ))?;
            if new.has_new_seed {
                // The uses of the old seed say nothing about the new one.
                transaction
                    .prepare_cached(
                        "UPDATE identity_use SET used = 0, drift = 0,
                            previous_used = CASE WHEN ?2 THEN used ELSE 0 END WHERE identity = ?1",
                    )?
                    .execute((id.0, new.has_grace))?;
            }
            let new = find_by_id(transaction, &ring, id)?
                .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            Ok(Ok(Some(Changed {
                was: old.principal,
                identity: Arc::new(new),
            })))
        })
        .await?
    }

    /// Deletes an identity and returns its principal; `None` if it does not exist.
    pub(super) async fn delete(
        &self,
        id: IdentityId,
        expected: Option<Version>,
    ) -> Result<Option<Principal>, ChangeError> {
        self.write(move |transaction| {
            let mut find = transaction
                .prepare_cached("SELECT name, realm, revision FROM identity WHERE id = ?1")?;
            let read = |row: &Row<'_>| {
                let who = principal(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?)?;
                Ok((who, Version(row.get(2)?)))
            };
            let Some((who, version)) = find.query_row((id.0,), read).optional()? else {
                return Ok(Ok(None));
            };
            if expected.is_some_and(|expected| expected != version) {
                return Ok(Err(ChangeError::Stale));
            }
            transaction
                .prepare_cached("DELETE FROM identity WHERE id = ?1")?
                .execute((id.0,))?;
            Ok(Ok(Some(who)))
        })
        .await?
    }

    /// Returns up to `limit` realms that sort after `after`.
    pub(super) async fn realms(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<RealmCount>, StoreError> {
        let after = after.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT realm, count(*), (SELECT count(*) FROM identity it
                        WHERE it.state = 'disabled' AND it.realm = identity.realm)
                     FROM identity WHERE realm > ?1 GROUP BY realm ORDER BY realm LIMIT ?2",
                )?
                .query_map((after, limit), |row| {
                    Ok(RealmCount {
                        realm: row.get::<_, String>(0)?.into(),
                        identities: row.get::<_, i64>(1)?.unsigned_abs(),
                        disabled: row.get::<_, i64>(2)?.unsigned_abs(),
                    })
                })?
                .collect()
        })
        .await
    }

    /// Reads up to `limit` changes after a position.
    pub(super) async fn changes(&self, after: Seq, limit: u32) -> Result<Changes, StoreError> {
        self.read(move |connection| {
            let snapshot = connection.transaction()?;
            changes_since(&snapshot, after, limit)
        })
        .await
    }

    /// Returns the last position of the change log.
    pub(super) async fn last_seq(&self) -> Result<Seq, StoreError> {
        self.read(|connection| last_seq(connection)).await
    }

    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.watch.verdict()?;
        let work = async {
            let connection = self.readers.get().await.map_err(pool_error)?;
            interact(&connection, self.timeout, work).await
        };
        let counts = &self.counts;
        counts.timed(Operation::Read, work, |_| true).await
    }

    /// Runs one transaction. The write is on disk when this returns `Ok`, and did not happen
    /// otherwise.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, ChangeError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.write_within(self.timeout, Patience::Outcome, work)
            .await
    }

    pub(super) async fn write_within<T, F>(
        &self,
        timeout: Duration,
        patience: Patience,
        work: F,
    ) -> Result<T, ChangeError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let work = commit::write(&self.writer, timeout, patience, work);
        let counts = &self.counts;
        let is_failure = |error: &ChangeError| matches!(error, ChangeError::Store(_));
        self.watch.look()?;
        let outcome = counts.timed(Operation::Write, work, is_failure).await;
        let has_failed = outcome.as_ref().is_err_and(is_failure);
        self.writes_fail.store(has_failed, Ordering::Relaxed);
        let outcome = outcome?;
        // A commit to a file that was replaced meanwhile does not count.
        self.watch.look()?;
        Ok(outcome)
    }
}
