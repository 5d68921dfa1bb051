//! Inserts new and imported identities.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::identities::trim;
use super::query::Postgres;
use super::rows::{COLUMNS, TABLES, current_key, find_by_id, identity};
use super::transaction::{Lock, Writing};
use crate::record::{RecordError, inserted, principal, sql_time, state_text};
use crate::seal::SealingKey;
use realmgate_core::{
    ChangeError, Created, Creation, Identity, IdentityId, Imported, ImportedIdentity, NewIdentity,
    Principal, REMEMBERED, UnixTime,
};

/// Excludes the numbers up to `$1` from assignment to new rows.
const RESERVE: &str = "SELECT setval('@.identity_number', $1) FROM @.identity_number
    WHERE last_value < $1 OR (last_value = $1 AND NOT is_called)";

impl Postgres {
    pub(super) async fn insert(
        &self,
        new: NewIdentity,
        now: UnixTime,
    ) -> Result<Arc<Identity>, ChangeError> {
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

    pub(super) async fn reserve(&self, last: IdentityId) -> Result<(), ChangeError> {
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

    pub(super) async fn import(
        &self,
        identities: Vec<ImportedIdentity>,
        now: UnixTime,
    ) -> Result<Vec<Imported>, ChangeError> {
        let work = async {
            let writing = self.begin(Lock::Identities).await?;
            let key = current_key(&writing, &self.ring).await?;
            let mut outcomes = Vec::with_capacity(identities.len());
            for new in identities {
                outcomes.push(self.take(&writing, &key, new, now).await?);
            }
            trim(&writing).await?;
            writing.commit().await?;
            Ok(outcomes)
        };
        self.written(work).await
    }

    pub(super) async fn insert_all(
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
            let before = self.made_before(&writing, &creations).await?;
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

    /// Returns the content and the identity of the requests that were made before, by their keys.
    async fn made_before(
        &self,
        writing: &Writing,
        creations: &[Creation],
    ) -> Result<HashMap<[u8; 32], MadeBefore>, Fault> {
        let keys = creations
            .iter()
            .filter_map(|it| Some(it.once?.key.to_vec()));
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = "SELECT key, content, identity FROM @.creation WHERE key = ANY($1)";
        let rows = writing.query(sql, &[(&keys, Type::BYTEA_ARRAY)]).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let bytes = |at| {
                let bytes: &[u8] = row.try_get(at)?;
                let bytes = <[u8; 32]>::try_from(bytes);
                bytes.map_err(|_| Fault::from(RecordError::Number))
            };
            let id = IdentityId(row.try_get(2)?);
            let identity = find_by_id(writing, &self.ring, id).await?.map(Arc::new);
            found.insert(bytes(0)?, (bytes(1)?, identity));
        }
        Ok(found)
    }

    async fn take(
        &self,
        writing: &Writing,
        key: &SealingKey,
        mut new: ImportedIdentity,
        now: UnixTime,
    ) -> Result<Imported, Fault> {
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE i.realm = $1 AND i.name = $2");
        let (realm, name) = (new.principal.realm(), new.principal.name());
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&realm, Type::TEXT), (&name, Type::TEXT)];
        if let Some(row) = writing.first(&sql, &parameters).await? {
            let here = identity(&row, &self.ring)?;
            return Ok(Imported::Taken(Arc::new(here)));
        }
        if let Some(id) = new.id {
            let sql = "SELECT 1 FROM @.identity WHERE id = $1";
            let is_taken = writing.first(sql, &[(&id.0, Type::INT8)]).await?.is_some();
            new.id = (!is_taken).then_some(id);
        }
        add(writing, key, &new, now).await.map(Imported::Under)
    }
}

/// The content of a request that was made before, and its identity unless it was deleted.
type MadeBefore = ([u8; 32], Option<Arc<Identity>>);

/// Returns those principals of new identities that exist.
async fn taken(writing: &Writing, creations: &[Creation]) -> Result<HashSet<Principal>, Fault> {
    let who = creations.iter().map(|it| &it.new.principal);
    let (realms, names): (Vec<_>, Vec<_>) = who.map(|who| (who.realm(), who.name())).unzip();
    let sql = "SELECT i.name, i.realm FROM unnest($1::text[], $2::text[]) new (realm, name)
        JOIN @.identity i ON i.realm = new.realm AND i.name = new.name";
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&realms, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let rows = writing.query(sql, &parameters).await?;
    let read = |row: &Row| Ok(principal(row.try_get(0)?, row.try_get(1)?)?);
    rows.iter().map(read).collect()
}

/// Inserts a row and returns its number.
async fn add(
    writing: &Writing,
    key: &SealingKey,
    new: &ImportedIdentity,
    now: UnixTime,
) -> Result<IdentityId, Fault> {
    let sealed = key.seal(&new.seed, new.principal.as_ref());
    let sealed = sealed.map_err(RecordError::from)?;
    let id = new.id.map(|id| id.0);
    let (name, realm) = (new.principal.name(), new.principal.realm());
    let parameters = new.parameters;
    let digits = i32::from(parameters.digits());
    let period = i32::from(parameters.period());
    let comment = new.terms.comment.as_deref();
    let not_before = new.terms.not_before.map(sql_time);
    let expires = new.terms.expires.map(sql_time);
    let sql = "INSERT INTO @.identity (id, name, realm, seed, algorithm, digits, period, state, created,
            updated, not_before, expires, comment, seed_made)
        VALUES (coalesce($1, nextval('@.identity_number')), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $10)
        RETURNING id";
    let row = writing
        .first(
            sql,
            &[
                (&id, Type::INT8),
                (&name, Type::TEXT),
                (&realm, Type::TEXT),
                (&sealed, Type::BYTEA),
                (&parameters.algorithm().as_str(), Type::TEXT),
                (&digits, Type::INT4),
                (&period, Type::INT4),
                (&state_text(new.state), Type::TEXT),
                (&sql_time(new.created), Type::INT8),
                (&sql_time(now), Type::INT8),
                (&not_before, Type::INT8),
                (&expires, Type::INT8),
                (&comment, Type::TEXT),
            ],
        )
        .await?;
    let row = row.ok_or(Fault::Closed)?;
    if let Some(id) = id.filter(|id| *id > 0) {
        // No later row gets a lower number, as in SQLite.
        writing.query(RESERVE, &[(&id, Type::INT8)]).await?;
    }
    Ok(IdentityId(row.try_get(0)?))
}
