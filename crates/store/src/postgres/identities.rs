//! Administration of identities.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::insert::{RESERVE, add, made_before, take, taken};
use super::log::trim;
use super::query::Postgres;
use super::rows::{TABLES, current_key, entry, find_by_id};
use super::spent;
use super::transaction::{Lock, Writing};
use crate::listing;
use crate::record::{COLUMNS, Revision, inserted, principal, sql_time};
use realmgate_core::{
    Administration, Change, ChangeError, Changed, Condition, Created, Creation, Deleted, Identity,
    IdentityId, Imported, ImportedIdentity, Listing, NewIdentity, Page, REMEMBERED, RealmCount,
    RealmTotals, Rows, Selection, State, StoreError, Tally, UnixTime, Version,
};

#[async_trait]
impl Administration for Postgres {
    async fn identity_by_id(&self, id: IdentityId) -> Result<Option<Arc<Identity>>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE i.id = $1");
        let rows = self.read(&sql, &[(&id.0, Type::INT8)]).await?;
        let found = rows.first().map(|row| entry(row, &self.ring)).transpose()?;
        found.transpose().map_err(StoreError::Row)
    }

    async fn identities(
        &self,
        selection: &Selection,
        after: IdentityId,
        limit: u32,
    ) -> Result<Rows, StoreError> {
        let Selection { realm, name, state } = selection;
        // An upper bound: no name continues with the last of all characters.
        let end = name.as_ref().map(|name| format!("{name}\u{10ffff}"));
        // One more shows whether there are more.
        let most = i64::from(limit).saturating_add(1);
        let (realm, name) = (realm.as_deref(), name.as_deref());
        let mut values: Vec<(&(dyn ToSql + Sync), Type)> =
            vec![(&after.0, Type::INT8), (&most, Type::INT8)];
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
        let rows: Result<_, Fault> = rows.iter().map(|row| entry(row, &self.ring)).collect();
        Ok(listing::rows(rows?, limit))
    }

    async fn list(&self, listing: &Listing) -> Result<Page, StoreError> {
        self.sorted_list(listing).await
    }

    async fn count(&self, condition: Condition, now: UnixTime) -> Result<Tally, StoreError> {
        self.tally(condition, now).await
    }

    async fn bad_steps(&self) -> Result<Vec<IdentityId>, StoreError> {
        self.find_bad_steps().await
    }

    async fn create(&self, new: NewIdentity, now: UnixTime) -> Result<Arc<Identity>, ChangeError> {
        let new = new.created_at(now);
        let work = async {
            let writing = self.begin(Lock::Identities).await?;
            // A rejected identity must not use up a number.
            let sql = "SELECT 1 FROM @.identity WHERE realm = $1 AND name = $2";
            let (realm, name) = (new.principal.realm(), new.principal.name());
            let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                [(&realm, Type::TEXT), (&name, Type::TEXT)];
            if writing.first(sql, &parameters).await?.is_some() {
                return Err(Fault::Taken);
            }
            let key = current_key(&writing, &self.ring).await?;
            let id = add(&writing, &key, &new, now).await?;
            let identity = find_by_id(&writing, &self.ring, id).await?;
            trim(&writing).await?;
            writing.commit().await?;
            identity.map(Arc::new).ok_or(Fault::Closed)
        };
        self.written(work).await
    }

    async fn reserve(&self, last: IdentityId) -> Result<(), ChangeError> {
        let work = async {
            if last.0 < 1 {
                return Ok(());
            }
            let writing = self.begin(Lock::Identities).await?;
            writing.query(RESERVE, &[(&last.0, Type::INT8)]).await?;
            writing.commit().await
        };
        self.written(work).await
    }

    async fn import(
        &self,
        identities: Vec<ImportedIdentity>,
        now: UnixTime,
    ) -> Result<Vec<Imported>, ChangeError> {
        let work = async {
            let writing = self.begin(Lock::Identities).await?;
            let key = current_key(&writing, &self.ring).await?;
            let mut outcomes = Vec::with_capacity(identities.len());
            for new in identities {
                outcomes.push(take(&writing, &self.ring, &key, new, now).await?);
            }
            trim(&writing).await?;
            writing.commit().await?;
            Ok(outcomes)
        };
        self.written(work).await
    }

    async fn update(
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
            if change.unthrottle {
                spent::mend(&writing, &old, now).await?;
            }
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

    async fn create_all(
        &self,
        creations: Vec<Creation>,
        now: UnixTime,
    ) -> Result<Vec<Created>, ChangeError> {
        let work = async {
            let writing = self.begin(Lock::Identities).await?;
            let key = current_key(&writing, &self.ring).await?;
            let forgotten = sql_time(now).saturating_sub_unsigned(REMEMBERED);
            let sql = "DELETE FROM @.creation WHERE made < $1";
            writing.execute(sql, &[(&forgotten, Type::INT8)]).await?;
            let before = made_before(&writing, &self.ring, &creations).await?;
            let mut taken = taken(&writing, &creations).await?;
            let mut made = (Vec::new(), Vec::new(), Vec::new());
            let mut outcomes = Vec::with_capacity(creations.len());
            for Creation { new, once } in creations {
                let found = once
                    .as_ref()
                    .and_then(|once| Some((once, before.get(&once.key)?)));
                outcomes.push(match found {
                    Some((once, (content, _))) if *content != once.content => Created::OtherContent,
                    Some((_, (_, Some(identity)))) => Created::Before(Arc::clone(identity)),
                    Some((_, (_, None))) => Created::Deleted,
                    None if !taken.insert(new.principal.clone()) => Created::Taken,
                    None => {
                        let new = new.created_at(now);
                        let id = add(&writing, &key, &new, now).await?;
                        if let Some(once) = once {
                            made.0.push(once.key.to_vec());
                            made.1.push(once.content.to_vec());
                            made.2.push(id.0);
                        }
                        Created::New(Arc::new(inserted(id, new, now)))
                    }
                });
            }
            let sql = "INSERT INTO @.creation (key, content, identity, made)
                SELECT key, content, identity, $4
                FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) new (key, content, identity)";
            let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
                (&made.0, Type::BYTEA_ARRAY),
                (&made.1, Type::BYTEA_ARRAY),
                (&made.2, Type::INT8_ARRAY),
                (&sql_time(now), Type::INT8),
            ];
            if !made.0.is_empty() {
                writing.execute(sql, &parameters).await?;
            }
            trim(&writing).await?;
            writing.commit().await?;
            Ok(outcomes)
        };
        self.written(work).await
    }

    async fn delete(
        &self,
        id: IdentityId,
        expected: Option<Version>,
    ) -> Result<Option<Deleted>, ChangeError> {
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
            let principal = principal(row.try_get(0)?, row.try_get(1)?).ok();
            trim(&writing).await?;
            writing.commit().await?;
            Ok(Some(Deleted { principal }))
        };
        self.written(work).await
    }

    async fn realms(&self, after: &str, limit: u32) -> Result<Vec<RealmCount>, StoreError> {
        let sql = "SELECT realm, identities, disabled FROM @.realm_count
            WHERE realm > $1 ORDER BY realm LIMIT $2";
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

    async fn totals(&self) -> Result<RealmTotals, StoreError> {
        let sql = "SELECT count(*), coalesce(sum(identities), 0)::bigint,
            coalesce(sum(disabled), 0)::bigint FROM @.realm_count";
        let rows = self.read(sql, &[]).await?;
        let row = rows.first().ok_or(StoreError::Closed)?;
        let number = |at| row.try_get::<_, i64>(at).map_err(Fault::from);
        Ok(RealmTotals {
            realms: number(0)?.unsigned_abs(),
            identities: number(1)?.unsigned_abs(),
            disabled: number(2)?.unsigned_abs(),
        })
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
