//! Inserts rows of identities.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Transaction};

use super::rows::{conversion, find_by_id, identity};
use crate::key_ring::KeyRing;
use crate::record::{sql_time, state_text};
use crate::seal::SealingKey;
use realmgate_core::{Created, IdentityId, ImportedIdentity, Once, PrincipalRef, UnixTime};

/// Returns the outcome of the same request, if it was made before.
pub(super) fn before(
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
    let found = find_by_id(transaction, IdentityId(id), |row| identity(row, ring))?;
    let identity = found.map(Arc::new);
    Ok(Some(identity.map_or(Created::Deleted, Created::Before)))
}

pub(super) fn is_there(
    transaction: &Transaction<'_>,
    who: PrincipalRef<'_>,
) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT 1 FROM identity WHERE realm = ?1 AND name = ?2")?
        .exists((who.realm(), who.name()))
}

pub(super) fn is_taken(transaction: &Transaction<'_>, id: IdentityId) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT 1 FROM identity WHERE id = ?1")?
        .exists((id.0,))
}

/// Inserts a row and returns its number.
pub(super) fn add(
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
