//! Converts between rows and values.

use std::sync::{Arc, LazyLock};

use rusqlite::{Connection, OptionalExtension, Row};

use crate::key_ring::KeyRing;
use crate::listing::Entry;
use crate::record::{self, COLUMNS, Record, key_to_seal};
use crate::seal::{KeyId, SealingKey};
use realmgate_core::{BadRow, Identity, IdentityId, Principal, PrincipalRef, Version};

/// The tables that contain the columns.
pub(super) const TABLES: &str = "identity i LEFT JOIN identity_use u ON u.identity = i.id";

/// Reads the row of a principal with `read`, [`identity`] or [`entry`].
pub(super) fn find<T>(
    connection: &Connection,
    who: PrincipalRef<'_>,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    static SQL: LazyLock<String> =
        LazyLock::new(|| format!("SELECT {COLUMNS} FROM {TABLES} WHERE realm = ?1 AND name = ?2"));
    connection
        .prepare_cached(&SQL)?
        .query_row((who.realm(), who.name()), read)
        .optional()
}

/// Likewise for a row with an ID.
pub(super) fn find_by_id<T>(
    connection: &Connection,
    id: IdentityId,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE i.id = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row((id.0,), read)
        .optional()
}

/// Reads a row in the order of [`COLUMNS`].
pub(super) fn identity(row: &Row<'_>, ring: &KeyRing) -> rusqlite::Result<Identity> {
    let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str()?);
    let record = Record {
        id: row.get(0)?,
        name: text(1)?,
        realm: text(2)?,
        seed: row.get_ref(3)?.as_blob()?,
        algorithm: text(4)?,
        digits: row.get(5)?,
        period: row.get(6)?,
        state: text(7)?,
        created: row.get(8)?,
        updated: row.get(9)?,
        previous_seed: row.get_ref(10)?.as_blob_or_null()?,
        previous_until: row.get(11)?,
        not_before: row.get(12)?,
        expires: row.get(13)?,
        // One that is not UTF-8, written with another program, denies nobody.
        comment: row.get_ref(14)?.as_str_or_null().ok().flatten(),
        unthrottled: row.get(15)?,
        used: row.get(16)?,
        previous_used: row.get(17)?,
        drift: row.get(18)?,
        version: row.get(19)?,
        seed_made: row.get(20)?,
        previous_made: row.get(21)?,
    };
    record.open(ring).map_err(conversion)
}

/// Reads a row that may be no identity.
pub(super) fn entry(row: &Row<'_>, ring: &KeyRing) -> rusqlite::Result<Entry> {
    identity(row, ring).map(Arc::new).map_or_else(
        |error| {
            let problem = match error {
                rusqlite::Error::ToSqlConversionFailure(error) => error.to_string(),
                error => error.to_string(),
            };
            Ok(Err(BadRow {
                id: IdentityId(row.get(0)?),
                version: Version(row.get(19)?),
                problem: problem.into(),
            }))
        },
        |identity| Ok(Ok(identity)),
    )
}

/// Reads a name and a realm, the first two columns; `None` if no identity can have them, because
/// somebody has written them with SQL.
pub(super) fn principal(row: &Row<'_>) -> rusqlite::Result<Option<Principal>> {
    let (name, realm) = (row.get_ref(0)?.as_str(), row.get_ref(1)?.as_str());
    let both = name.ok().zip(realm.ok());
    Ok(both.and_then(|(name, realm)| record::principal(name, realm).ok()))
}

/// Reads a row count.
pub(super) fn count(row: &Row<'_>) -> rusqlite::Result<u64> {
    row.get::<_, i64>(0).map(i64::unsigned_abs)
}

pub(super) fn conversion(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

/// Returns the current key, read in the transaction that writes.
pub(super) fn current_key(
    ring: &KeyRing,
    transaction: &Connection,
) -> rusqlite::Result<Arc<SealingKey>> {
    let id = transaction
        .prepare_cached("SELECT id FROM sealing_key WHERE state = 'current'")?
        .query_row((), |row| row.get(0).map(KeyId))?;
    key_to_seal(ring, id).map_err(conversion)
}
