//! Administration of identities.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, ToSql};

use super::insert::{add, before, is_taken, is_there};
use super::lists;
use super::query::Sqlite;
use super::rows::{TABLES, conversion, current_key, entry, find, find_by_id, identity, principal};
use super::spent;
use crate::listing;
use crate::record::{COLUMNS, Revision, inserted, sql_time};
use realmgate_core::{
    Administration, Change, ChangeError, Changed, Condition, Created, Creation, Deleted, Identity,
    IdentityId, Imported, ImportedIdentity, Listing, NewIdentity, Page, REMEMBERED, RealmCount,
    RealmTotals, Rows, Selection, State, StoreError, Tally, UnixTime, Version,
};

#[async_trait]
impl Administration for Sqlite {
    async fn identity_by_id(&self, id: IdentityId) -> Result<Option<Arc<Identity>>, StoreError> {
        let ring = Arc::clone(&self.ring);
        let found =
            self.read(move |connection| find_by_id(connection, id, |row| entry(row, &ring)));
        found.await?.transpose().map_err(StoreError::Row)
    }

    async fn identities(
        &self,
        selection: &Selection,
        after: IdentityId,
        limit: u32,
    ) -> Result<Rows, StoreError> {
        let ring = Arc::clone(&self.ring);
        let Selection { realm, name, state } = selection.clone();
        self.read(move |connection| {
            // U+10FFFF sorts after every character of a name.
            let end = name.as_ref().map(|name| format!("{name}\u{10ffff}"));
            // One more shows whether there are more.
            let most = limit.saturating_add(1);
            let mut values: Vec<&dyn ToSql> = vec![&after.0, &most];
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
                "SELECT {COLUMNS} FROM {TABLES} WHERE i.id IN
                    (SELECT id FROM identity {index} WHERE {state} {which} LIMIT ?2) ORDER BY i.id"
            );
            let rows = connection
                .prepare_cached(&sql)?
                .query_map(&*values, |row| entry(row, &ring))?
                .collect::<rusqlite::Result<_>>()?;
            Ok(listing::rows(rows, limit))
        })
        .await
    }

    async fn list(&self, listing: &Listing) -> Result<Page, StoreError> {
        let (ring, listing) = (Arc::clone(&self.ring), listing.clone());
        self.read(move |connection| lists::list(connection, &ring, &listing))
            .await
    }

    async fn count(&self, condition: Condition, now: UnixTime) -> Result<Tally, StoreError> {
        self.read(move |connection| lists::count(connection, condition, now))
            .await
    }

    async fn bad_steps(&self) -> Result<Vec<IdentityId>, StoreError> {
        self.read(|connection| spent::find_bad(connection)).await
    }

    async fn create(&self, new: NewIdentity, now: UnixTime) -> Result<Arc<Identity>, ChangeError> {
        let ring = Arc::clone(&self.ring);
        let new = new.created_at(now);
        self.write(move |transaction| {
            let id = add(transaction, &*current_key(&ring, transaction)?, &new, now)?;
            find_by_id(transaction, id, |row| identity(row, &ring))?
                .map(Arc::new)
                .ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
        .await
    }

    async fn reserve(&self, last: IdentityId) -> Result<(), ChangeError> {
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT 'identity', 0
                    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'identity')",
                (),
            )?;
            let sql = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'identity' AND seq < ?1";
            transaction.execute(sql, (last.0,)).map(drop)
        })
        .await
    }

    async fn import(
        &self,
        identities: Vec<ImportedIdentity>,
        now: UnixTime,
    ) -> Result<Vec<Imported>, ChangeError> {
        let ring = Arc::clone(&self.ring);
        self.write(move |transaction| {
            let key = current_key(&ring, transaction)?;
            let take = |mut new: ImportedIdentity| {
                if let Some(here) = find(transaction, new.principal.as_ref(), |row| {
                    identity(row, &ring)
                })? {
                    return Ok(Imported::Taken(Arc::new(here)));
                }
                new.id = match new.id {
                    Some(id) if is_taken(transaction, id)? => None,
                    id => id,
                };
                add(transaction, &key, &new, now).map(Imported::Under)
            };
            identities.into_iter().map(take).collect()
        })
        .await
    }

    async fn update(
        &self,
        id: IdentityId,
        change: Change,
        now: UnixTime,
    ) -> Result<Option<Changed>, ChangeError> {
        let ring = Arc::clone(&self.ring);
        self.write(move |transaction| {
            let Some(old) = find_by_id(transaction, id, |row| identity(row, &ring))? else {
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
            if change.unthrottle {
                spent::mend(transaction, &old, now)?;
            }
            let new = find_by_id(transaction, id, |row| identity(row, &ring))?
                .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            Ok(Ok(Some(Changed {
                was: old.principal,
                identity: Arc::new(new),
            })))
        })
        .await?
    }

    async fn create_all(
        &self,
        creations: Vec<Creation>,
        now: UnixTime,
    ) -> Result<Vec<Created>, ChangeError> {
        let ring = Arc::clone(&self.ring);
        self.write(move |transaction| {
            let key = current_key(&ring, transaction)?;
            let forgotten = sql_time(now).saturating_sub_unsigned(REMEMBERED);
            transaction
                .prepare_cached("DELETE FROM creation WHERE made < ?1")?
                .execute((forgotten,))?;
            let take = |Creation { new, once }| {
                if let Some(once) = &once
                    && let Some(before) = before(transaction, &ring, once)?
                {
                    return Ok(before);
                }
                if is_there(transaction, new.principal.as_ref())? {
                    return Ok(Created::Taken);
                }
                let new = new.created_at(now);
                let id = add(transaction, &key, &new, now)?;
                if let Some(once) = once {
                    transaction
                        .prepare_cached("INSERT INTO creation VALUES (?1, ?2, ?3, ?4)")?
                        .execute((once.key, once.content, id.0, sql_time(now)))?;
                }
                Ok(Created::New(Arc::new(inserted(id, new, now))))
            };
            creations.into_iter().map(take).collect()
        })
        .await
    }

    async fn delete(
        &self,
        id: IdentityId,
        expected: Option<Version>,
    ) -> Result<Option<Deleted>, ChangeError> {
        self.write(move |transaction| {
            let mut find = transaction
                .prepare_cached("SELECT name, realm, revision FROM identity WHERE id = ?1")?;
            let read = |row: &Row<'_>| Ok((principal(row)?, Version(row.get(2)?)));
            let Some((principal, version)) = find.query_row((id.0,), read).optional()? else {
                return Ok(Ok(None));
            };
            if expected.is_some_and(|expected| expected != version) {
                return Ok(Err(ChangeError::Stale));
            }
            transaction
                .prepare_cached("DELETE FROM identity WHERE id = ?1")?
                .execute((id.0,))?;
            Ok(Ok(Some(Deleted { principal })))
        })
        .await?
    }

    async fn realms(&self, after: &str, limit: u32) -> Result<Vec<RealmCount>, StoreError> {
        let after = after.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT realm, identities, disabled FROM realm_count WHERE realm > ?1
                        ORDER BY realm",
                )?
                .query_map((after,), |row| {
                    // A realm that is not UTF-8, written with another program, has no identities.
                    let Ok(realm) = row.get_ref(0)?.as_str() else {
                        return Ok(None);
                    };
                    Ok(Some(RealmCount {
                        realm: realm.into(),
                        identities: row.get::<_, i64>(1)?.unsigned_abs(),
                        disabled: row.get::<_, i64>(2)?.unsigned_abs(),
                    }))
                })?
                .filter_map(Result::transpose)
                .take(limit as usize)
                .collect()
        })
        .await
    }

    async fn totals(&self) -> Result<RealmTotals, StoreError> {
        let sql = "SELECT count(*), coalesce(sum(identities), 0), coalesce(sum(disabled), 0)
            FROM realm_count";
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row((), |row| {
                Ok(RealmTotals {
                    realms: row.get::<_, i64>(0)?.unsigned_abs(),
                    identities: row.get::<_, i64>(1)?.unsigned_abs(),
                    disabled: row.get::<_, i64>(2)?.unsigned_abs(),
                })
            })
        })
        .await
    }
}
