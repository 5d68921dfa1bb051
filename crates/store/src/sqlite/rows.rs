//! Converts between rows and values.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row};

use crate::key_ring::KeyRing;
use crate::seal::{KeyId, SealError, SealingKey};
use realmgate_core::{
    Identity, IdentityId, Parameters, Previous, Principal, PrincipalRef, Seeds, State, Terms, Totp,
    UnixTime, Usage,
};

/// The columns that [`identity`] reads, in its order.
pub(super) const COLUMNS: &str =
    "id, name, realm, seed, algorithm, digits, period, state, created, updated, previous_seed,
    previous_until, not_before, expires, comment, pardoned, used, previous_used, drift";

/// The tables that contain them.
pub(super) const TABLES: &str =
    "identity LEFT JOIN identity_use ON identity_use.identity = identity.id";

pub(super) fn find(
    connection: &Connection,
    ring: &KeyRing,
    who: PrincipalRef<'_>,
) -> rusqlite::Result<Option<Identity>> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE realm = ?1 AND name = ?2");
    connection
        .prepare_cached(&sql)?
        .query_row((who.realm(), who.name()), |row| identity(row, ring))
        .optional()
}

pub(super) fn find_by_id(
    connection: &Connection,
    ring: &KeyRing,
    id: IdentityId,
) -> rusqlite::Result<Option<Identity>> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE id = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row((id.0,), |row| identity(row, ring))
        .optional()
}

/// Reads a row in the order of [`COLUMNS`].
///
/// A seed that does not decrypt is logged and left out: the identity exists, but every token is
/// rejected.
pub(super) fn identity(row: &Row<'_>, ring: &KeyRing) -> rusqlite::Result<Identity> {
    let principal = principal(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?)?;
    let parameters = Parameters::new(
        row.get::<_, String>(4)?.parse().map_err(conversion)?,
        row.get(5)?,
        row.get(6)?,
    )
    .map_err(conversion)?;
    let totp = |sealed: &[u8]| match ring.open(sealed, principal.as_ref()) {
        Ok(seed) => Some(Totp::new(&seed, parameters)),
        Err(error) => {
            tracing::error!(name = principal.name(), realm = principal.realm(), %error, "cannot decrypt a seed");
            None
        }
    };
    let present = totp(row.get_ref(3)?.as_blob()?);
    let previous = row.get_ref(10)?.as_blob_or_null()?.and_then(totp);
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(unix_time));
    let never = UnixTime::from_secs(0);
    let until = time(11)?.unwrap_or(never);
    Ok(Identity {
        id: IdentityId(row.get(0)?),
        seeds: Seeds {
            present,
            previous: previous.map(|totp| Previous { totp, until }),
        }
        .into(),
        terms: Terms {
            not_before: time(12)?,
            expires: time(13)?,
            comment: row
                .get::<_, Option<String>>(14)?
                .map(String::into_boxed_str),
        }
        .boxed(),
        unthrottled: unix_time(row.get(15)?),
        usage: Usage::new(
            time(16)?.unwrap_or(never),
            time(17)?.unwrap_or(never),
            row.get::<_, Option<i64>>(18)?.unwrap_or_default(),
        ),
        parameters,
        principal,
        state: match row.get_ref(7)?.as_str()? {
            "enabled" => State::Enabled,
            _ => State::Disabled,
        },
        created: unix_time(row.get(8)?),
        updated: unix_time(row.get(9)?),
    })
}

/// Makes a principal of stored values. Their length was checked when they were written, against a
/// limit that may have changed since.
pub(super) fn principal(name: &str, realm: &str) -> rusqlite::Result<Principal> {
    Principal::new(name, realm, usize::MAX).map_err(conversion)
}

pub(super) const fn state_text(state: State) -> &'static str {
    match state {
        State::Enabled => "enabled",
        State::Disabled => "disabled",
    }
}

pub(super) fn sql_time(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn unix_time(secs: i64) -> UnixTime {
    UnixTime::from_secs(u64::try_from(secs).unwrap_or(0))
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
    ring.find(id)
        .ok_or_else(|| conversion(SealError::NotHeld(id)))
}
