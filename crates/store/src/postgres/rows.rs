//! Rows of identities.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::Fault;
use super::transaction::Writing;
use crate::key_ring::KeyRing;
use crate::listing::Entry;
use crate::record::{COLUMNS, Record, RecordError, key_to_seal};
use crate::seal::{KeyId, SealingKey};
use realmgate_core::{BadRow, Identity, IdentityId, Version};

/// The tables that contain the columns.
pub(super) const TABLES: &str = "@.identity i LEFT JOIN @.identity_use u ON u.identity = i.id";

/// Reads a row in the order of [`COLUMNS`].
pub(super) fn identity(row: &Row, ring: &KeyRing) -> Result<Identity, Fault> {
    let record = Record {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        realm: row.try_get(2)?,
        seed: row.try_get(3)?,
        algorithm: row.try_get(4)?,
        digits: row.try_get::<_, i32>(5)?.into(),
        period: row.try_get::<_, i32>(6)?.into(),
        state: row.try_get(7)?,
        created: row.try_get(8)?,
        updated: row.try_get(9)?,
        previous_seed: row.try_get(10)?,
        previous_until: row.try_get(11)?,
        not_before: row.try_get(12)?,
        expires: row.try_get(13)?,
        comment: row.try_get(14)?,
        unthrottled: row.try_get(15)?,
        used: row.try_get(16)?,
        previous_used: row.try_get(17)?,
        drift: row.try_get(18)?,
        version: row.try_get(19)?,
        seed_made: row.try_get(20)?,
        previous_made: row.try_get(21)?,
    };
    Ok(record.open(ring)?)
}

/// Reads a row that may be no identity.
pub(super) fn entry(row: &Row, ring: &KeyRing) -> Result<Entry, Fault> {
    match identity(row, ring) {
        Ok(identity) => Ok(Ok(Arc::new(identity))),
        Err(Fault::Record(error)) => Ok(Err(BadRow {
            id: IdentityId(row.try_get(0)?),
            version: Version(row.try_get(19)?),
            problem: error.to_string().into(),
        })),
        Err(fault) => Err(fault),
    }
}

pub(super) async fn find_by_id(
    writing: &Writing,
    ring: &KeyRing,
    id: IdentityId,
) -> Result<Option<Identity>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE i.id = $1");
    let row = writing.first(&sql, &[(&id.0, Type::INT8)]).await?;
    row.map(|row| identity(&row, ring)).transpose()
}

/// Returns the current key, read in the transaction that writes.
pub(super) async fn current_key(
    writing: &Writing,
    ring: &KeyRing,
) -> Result<Arc<SealingKey>, Fault> {
    let sql = "SELECT id FROM @.sealing_key WHERE state = 'current'";
    let row = writing.first(sql, &[]).await?;
    let row = row.ok_or_else(|| Fault::text("the database names no key"))?;
    Ok(key_to_seal(ring, key_id(row.try_get(0)?)?)?)
}

pub(super) fn key_id(bytes: &[u8]) -> Result<KeyId, Fault> {
    let bytes = bytes.try_into();
    bytes.map(KeyId).map_err(|_| RecordError::Number.into())
}
