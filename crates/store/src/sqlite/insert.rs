//! Inserts new and imported identities.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Transaction};

use super::identities::Sqlite;
use super::rows::{conversion, current_key, find, find_by_id};
use crate::key_ring::KeyRing;
use crate::record::{inserted, sql_time, state_text};
use crate::seal::SealingKey;
use realmgate_core::{
    ChangeError, Created, Creation, Identity, IdentityId, Imported, ImportedIdentity, NewIdentity,
    Once, PrincipalRef, REMEMBERED, UnixTime,
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

    /// Inserts the identities whose principals do not exist yet, and those that the same request
    /// inserted before only once.
    pub(super) async fn insert_all(
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

/// Returns the outcome of the same request, if it was made before.
fn before(
    transaction: &Transaction<'_>,
    ring: &KeyRing,
    once: &Once,
) -> rusqlite::Result<Option<Created>> {
    let found: Option<([u8; 32], i64)> = transaction
        .prepare_cached("SELECT content, identity FROM creation WHERE key = ?1")?
        .query_row((once.key,), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((content, id)) = found else {
        return Ok(None);
    };
    if content != once.content {
        return Ok(Some(Created::OtherContent));
    }
    let identity = find_by_id(transaction, ring, IdentityId(id))?.map(Arc::new);
    Ok(Some(identity.map_or(Created::Deleted, Created::Before)))
}

fn is_there(transaction: &Transaction<'_>, who: PrincipalRef<'_>) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT 1 FROM identity WHERE realm = ?1 AND name = ?2")?
        .exists((who.realm(), who.name()))
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
                    expires, comment, seed_made)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?10)",
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
