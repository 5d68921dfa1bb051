//! Inserts rows of identities.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::rows::{TABLES, find_by_id, identity};
use super::transaction::Writing;
use crate::key_ring::KeyRing;
use crate::record::{COLUMNS, RecordError, principal, sql_time, state_text};
use crate::seal::SealingKey;
use realmgate_core::{
    Creation, Identity, IdentityId, Imported, ImportedIdentity, Principal, UnixTime,
};

/// Excludes the numbers up to `$1` from assignment to new rows.
pub(super) const RESERVE: &str =
    "SELECT pg_catalog.setval('@.identity_number', $1) FROM @.identity_number
    WHERE last_value < $1 OR (last_value = $1 AND NOT is_called)";

/// Returns the content and the identity of the requests that were made before, by their keys.
pub(super) async fn made_before(
    writing: &Writing,
    ring: &KeyRing,
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
        let identity = find_by_id(writing, ring, id).await?.map(Arc::new);
        found.insert(bytes(0)?, (bytes(1)?, identity));
    }
    Ok(found)
}

/// Inserts an imported identity, unless its principal exists.
pub(super) async fn take(
    writing: &Writing,
    ring: &KeyRing,
    key: &SealingKey,
    mut new: ImportedIdentity,
    now: UnixTime,
) -> Result<Imported, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE i.realm = $1 AND i.name = $2");
    let (realm, name) = (new.principal.realm(), new.principal.name());
    let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&realm, Type::TEXT), (&name, Type::TEXT)];
    if let Some(row) = writing.first(&sql, &parameters).await? {
        let here = identity(&row, ring)?;
        return Ok(Imported::Taken(Arc::new(here)));
    }
    if let Some(id) = new.id {
        let sql = "SELECT 1 FROM @.identity WHERE id = $1";
        let is_taken = writing.first(sql, &[(&id.0, Type::INT8)]).await?.is_some();
        new.id = (!is_taken).then_some(id);
    }
    add(writing, key, &new, now).await.map(Imported::Under)
}

/// The content of a request that was made before, and its identity unless it was deleted.
pub(super) type MadeBefore = ([u8; 32], Option<Arc<Identity>>);

/// Returns those principals of new identities that exist.
pub(super) async fn taken(
    writing: &Writing,
    creations: &[Creation],
) -> Result<HashSet<Principal>, Fault> {
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
pub(super) async fn add(
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
        VALUES (coalesce($1, pg_catalog.nextval('@.identity_number')), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $10)
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
