//! Inserts new and imported identities.

use std::sync::Arc;

use rusqlite::Transaction;

use super::identities::Sqlite;
use super::rows::{conversion, current_key, find, find_by_id};
use crate::record::{sql_time, state_text};
use crate::seal::SealingKey;
use realmgate_core::{
    ChangeError, Identity, IdentityId, Imported, ImportedIdentity, NewIdentity, UnixTime,
};

impl Sqlite {
    /// Inserts an identity and returns it.
    pub(super) async fn insert(
        &self,
        new: NewIdentity,
        now: UnixTime,
    ) -> Result<Arc<Identity>, ChangeError> {
        let ring = Arc::clone(&self.ring);
        let new = new.created_at(now);
        self.write(move |transaction| {
            let id = add(transaction, &*current_key(&ring, transaction)?, &new, now)?;
            find_by_id(transaction, &ring, id)?
                .map(Arc::new)
                .ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
        .await
    }

    /// Excludes the numbers up to `last` from assignment to new identities.
    pub(super) async fn reserve(&self, last: IdentityId) -> Result<(), ChangeError> {
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

    /// Inserts the identities whose principals do not exist yet.
    pub(super) async fn import(
        &self,
        identities: Vec<ImportedIdentity>,
        now: UnixTime,
    ) -> Result<Vec<Imported>, ChangeError> {
        let ring = Arc::clone(&self.ring);
        self.write(move |transaction| {
            let key = current_key(&ring, transaction)?;
            let take = |mut new: ImportedIdentity| {
                if let Some(here) = find(transaction, &ring, new.principal.as_ref())? {
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
}

fn is_taken(transaction: &Transaction<'_>, id: IdentityId) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT 1 FROM identity WHERE id = ?1")?
        .exists((id.0,))
}

/// Inserts a row and returns its number.
fn add(
    transaction: &Transaction<'_>,
    key: &SealingKey,
    new: &ImportedIdentity,
    now: UnixTime,
) -> rusqlite::Result<IdentityId> {
    let sealed = key
        .seal(&new.seed, new.principal.as_ref())
        .map_err(conversion)?;
    transaction
        .prepare_cached(
            "INSERT INTO identity
                (id, name, realm, seed, algorithm, digits, period, state, created, updated, not_before,
                    expires, comment)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute((
            new.id.map(|id| id.0),
            new.principal.name(),
            new.principal.realm(),
            &sealed,
            new.parameters.algorithm().as_str(),
            new.parameters.digits(),
            new.parameters.period(),
            state_text(new.state),
            sql_time(new.created),
            sql_time(now),
            new.terms.not_before.map(sql_time),
            new.terms.expires.map(sql_time),
            &new.terms.comment,
        ))?;
    Ok(IdentityId(transaction.last_insert_rowid()))
}
