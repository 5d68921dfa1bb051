//! Inserts new and imported identities.

use std::sync::Arc;

use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::identities::trim;
use super::query::Postgres;
use super::rows::{COLUMNS, TABLES, current_key, find_by_id, identity};
use super::transaction::{Lock, Writing};
use crate::record::{RecordError, sql_time, state_text};
use crate::seal::SealingKey;
use realmgate_core::{
    ChangeError, Identity, IdentityId, Imported, ImportedIdentity, NewIdentity, UnixTime,
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
            updated, not_before, expires, comment)
        VALUES (coalesce($1, nextval('@.identity_number')), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
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
