//! Reads, changes and deletes identities.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::query::Postgres;
use super::rows::{COLUMNS, TABLES, current_key, find_by_id, identity};
use super::transaction::{Lock, Writing};
use crate::database::{Changes, Loaded, Seq};
use crate::record::{Revision, principal, sql_time};
use realmgate_core::{
    Change, ChangeError, Changed, Identity, IdentityId, Principal, RealmCount, Selection, State,
    StoreError, UnixTime, Version,
};

/// The number of entries of the change log that are kept: more than a process falls behind while it
/// still responds. One that does drops its whole cache.
pub(super) const CHANGES_KEPT: i64 = 100_000;

/// The last position of the change log.
pub(super) const LAST: &str = "(SELECT coalesce(max(seq), 0) FROM @.change)";

impl Postgres {
    pub(super) async fn load(&self, who: &Principal) -> Result<Loaded, StoreError> {
        // One statement, so that the row and the position are of the same moment. A standby would
        // lag behind.
        let sql = format!(
            "SELECT {COLUMNS}, {LAST}, pg_is_in_recovery() FROM (SELECT 1) one
                LEFT JOIN ({TABLES}) ON i.realm = $1 AND i.name = $2"
        );
        let (realm, name) = (who.realm(), who.name());
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&realm, Type::TEXT), (&name, Type::TEXT)];
        let rows = self.read(&sql, &parameters).await?;
        let read = || {
            let row = rows.first().ok_or(Fault::Closed)?;
            if row.try_get(23)? {
                return Err(Fault::Connection("the server is a standby".into()));
            }
            let is_there = row.try_get::<_, Option<i64>>(0)?.is_some();
            let found = is_there.then(|| identity(row, &self.ring)).transpose()?;
            Ok(Loaded {
                identity: found.map(Arc::new),
                as_of: Seq(row.try_get(22)?),
            })
        };
        Ok(read()?)
    }

    pub(super) async fn load_by_id(
        &self,
        id: IdentityId,
    ) -> Result<Option<Arc<Identity>>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE i.id = $1");
        let rows = self.read(&sql, &[(&id.0, Type::INT8)]).await?;
        let found = rows.first().map(|row| identity(row, &self.ring));
        Ok(found.transpose()?.map(Arc::new))
    }

    pub(super) async fn page(
        &self,
        selection: &Selection,
        after: IdentityId,
        limit: u32,
    ) -> Result<Vec<Arc<Identity>>, StoreError> {
        let Selection { realm, name, state } = selection;
        // An upper bound: no name continues with the last of all characters.
        let end = name.as_ref().map(|name| format!("{name}\u{10ffff}"));
        let limit = i64::from(limit);
        let (realm, name) = (realm.as_deref(), name.as_deref());
        let mut values: Vec<(&(dyn ToSql + Sync), Type)> =
            vec![(&after.0, Type::INT8), (&limit, Type::INT8)];
        // The zero keeps the planner from scanning the numbers until enough rows match.
        let which = match (&realm, &name, &end) {
            (Some(realm), Some(name), Some(end)) => {
                values.extend([
                    (realm as &(dyn ToSql + Sync), Type::TEXT),
                    (name, Type::TEXT),
                    (end, Type::TEXT),
                ]);
                "realm = $3 AND name >= $4 AND name < $5 AND id > $1 ORDER BY id + 0"
            }
            (None, Some(name), Some(end)) => {
                values.extend([(name as &(dyn ToSql + Sync), Type::TEXT), (end, Type::TEXT)]);
                "name >= $3 AND name < $4 AND id > $1 ORDER BY id + 0"
            }
            (Some(realm), ..) => {
                values.push((realm, Type::TEXT));
                "realm = $3 AND id > $1 ORDER BY id"
            }
            (None, ..) => "id > $1 ORDER BY id",
        };
        // Written out, so that the server uses the index of disabled identities.
        let state = match state {
            None => "",
            Some(State::Enabled) => "state = 'enabled' AND",
            Some(State::Disabled) => "state = 'disabled' AND",
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM (SELECT * FROM @.identity WHERE {state} {which} LIMIT $2) i
                LEFT JOIN @.identity_use u ON u.identity = i.id ORDER BY i.id"
        );
        let rows = self.read(&sql, &values).await?;
        let identities = rows
            .iter()
            .map(|row| identity(row, &self.ring).map(Arc::new));
        Ok(identities.collect::<Result<_, _>>()?)
    }

    pub(super) async fn update(
        &self,
        id: IdentityId,
        change: Change,
        now: UnixTime,
    ) -> Result<Option<Changed>, ChangeError> {
        let work = async {
            let writing = self.begin(Lock::Identities).await?;
            let Some(old) = find_by_id(&writing, &self.ring, id).await? else {
                return Ok(None);
            };
            let version = old.history.version;
            if change.expected.is_some_and(|expected| expected != version) {
                return Err(Fault::Stale);
            }
            let key = current_key(&writing, &self.ring).await?;
            let new = Revision::of(&old, &change, &key, now)?;
            revise(&writing, id, &new, now).await?;
            let identity = find_by_id(&writing, &self.ring, id).await?;
            let identity = identity.ok_or(Fault::Closed)?;
            trim(&writing).await?;
            writing.commit().await?;
            Ok(Some(Changed {
                was: old.principal,
                identity: Arc::new(identity),
            }))
        };
        self.written(work).await
    }

    pub(super) async fn delete(
        &self,
        id: IdentityId,
        expected: Option<Version>,
    ) -> Result<Option<Principal>, ChangeError> {
        let work = async {
            let writing = self.begin(Lock::Identities).await?;
            let sql = "DELETE FROM @.identity WHERE id = $1 RETURNING name, realm, revision";
            let Some(row) = writing.first(sql, &[(&id.0, Type::INT8)]).await? else {
                return Ok(None);
            };
            let version = Version(row.try_get(2)?);
            if expected.is_some_and(|expected| expected != version) {
                // The transaction is rolled back.
                return Err(Fault::Stale);
            }
            let principal = principal(row.try_get(0)?, row.try_get(1)?)?;
            trim(&writing).await?;
            writing.commit().await?;
            Ok(Some(principal))
        };
        self.written(work).await
    }

    pub(super) async fn realms(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<RealmCount>, StoreError> {
        let sql = "SELECT realm, count(*), count(*) FILTER (WHERE state = 'disabled')
            FROM @.identity WHERE realm > $1 GROUP BY realm ORDER BY realm LIMIT $2";
        let limit = i64::from(limit);
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&after, Type::TEXT), (&limit, Type::INT8)];
        let rows = self.read(sql, &parameters).await?;
        let count = |row: &Row| {
            Ok::<_, Fault>(RealmCount {
                realm: row.try_get::<_, &str>(0)?.into(),
                identities: row.try_get::<_, i64>(1)?.unsigned_abs(),
                disabled: row.try_get::<_, i64>(2)?.unsigned_abs(),
            })
        };
        Ok(rows.iter().map(count).collect::<Result<_, _>>()?)
    }

    pub(super) async fn changes(&self, after: Seq, limit: u32) -> Result<Changes, StoreError> {
        // One statement, so that the entries and the ends of the log are of the same moment.
        let sql = format!(
            "SELECT {LAST}, (SELECT min(seq) FROM @.change), c.name, c.realm, c.seq FROM (SELECT 1) one
                LEFT JOIN (SELECT * FROM @.change WHERE seq > $1 ORDER BY seq LIMIT $2) c ON true
                ORDER BY c.seq"
        );
        let count = i64::from(limit);
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&after.0, Type::INT8), (&count, Type::INT8)];
        let rows = self.read(&sql, &parameters).await?;
        let read = || {
            let row = rows.first().ok_or(Fault::Closed)?;
            let (last, first) = (Seq(row.try_get(0)?), row.try_get::<_, Option<i64>>(1)?);
            if last == after {
                return Ok(Changes::None);
            }
            if last < after || first.is_none_or(|first| first > after.0 + 1) {
                return Ok(Changes::Unknown(last));
            }
            let mut changed = Vec::with_capacity(rows.len());
            for row in &rows {
                let seq = Seq(row.try_get(4)?);
                changed.push((principal(row.try_get(2)?, row.try_get(3)?)?, seq));
            }
            let is_part = changed.len() == limit as usize;
            let reached = changed.last().map(|(_, seq)| *seq);
            Ok::<_, Fault>(Changes::Some(
                changed,
                reached.filter(|_| is_part).unwrap_or(last),
            ))
        };
        Ok(read()?)
    }
}

async fn revise(
    writing: &Writing,
    id: IdentityId,
    new: &Revision,
    now: UnixTime,
) -> Result<(), Fault> {
    let (name, realm) = (new.principal.name(), new.principal.realm());
    let terms = &new.terms;
    let comment = terms.comment.as_deref();
    let (not_before, expires) = (terms.not_before.map(sql_time), terms.expires.map(sql_time));
    let sql = "UPDATE @.identity SET name = $2, realm = $3, seed = coalesce($4, seed), state = $5,
        updated = $6, previous_seed = $7, previous_until = $8, not_before = $9, expires = $10,
        comment = $11, pardoned = $12, seed_made = $13, previous_made = $14, revision = revision + 1
        WHERE id = $1";
    writing
        .execute(
            sql,
            &[
                (&id.0, Type::INT8),
                (&name, Type::TEXT),
                (&realm, Type::TEXT),
                (&new.seed, Type::BYTEA),
                (&new.state, Type::TEXT),
                (&sql_time(now), Type::INT8),
                (&new.previous_seed, Type::BYTEA),
                (&new.previous_until, Type::INT8),
                (&not_before, Type::INT8),
                (&expires, Type::INT8),
                (&comment, Type::TEXT),
                (&new.unthrottled, Type::INT8),
                (&new.seed_made, Type::INT8),
                (&new.previous_made, Type::INT8),
            ],
        )
        .await?;
    if new.has_new_seed {
        // The last use of the old seed does not apply to the new one.
        let sql = "UPDATE @.identity_use SET used = 0, drift = 0,
            previous_used = CASE WHEN $2 THEN used ELSE 0 END WHERE identity = $1";
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&id.0, Type::INT8), (&new.has_grace, Type::BOOL)];
        writing.execute(sql, &parameters).await?;
    }
    Ok(())
}

/// Deletes the entries older than [`CHANGES_KEPT`].
pub(super) async fn trim(writing: &Writing) -> Result<(), Fault> {
    let sql = "DELETE FROM @.change WHERE seq <= (SELECT max(seq) FROM @.change) - $1";
    writing.execute(sql, &[(&CHANGES_KEPT, Type::INT8)]).await?;
    Ok(())
}

/// Converts the error of a write that cannot violate the uniqueness of principals.
pub(super) fn no_change(error: ChangeError) -> StoreError {
    match error {
        ChangeError::Store(error) => error,
        ChangeError::Taken | ChangeError::Stale => {
            StoreError::Database("a row could not be written".into())
        }
    }
}
