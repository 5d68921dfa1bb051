//! Rows and what they mean.

use rusqlite::{Connection, OptionalExtension, Row};

use super::seal::Sealer;
use crate::auth::{
    Identity, IdentityId, Parameters, Principal, PrincipalRef, State, Totp, UnixTime,
};

/// The columns that [`identity`] reads, in its order.
pub(super) const COLUMNS: &str =
    "id, name, realm, seed, algorithm, digits, period, state, created, updated";

pub(super) fn find(
    connection: &Connection,
    sealer: &Sealer,
    who: PrincipalRef<'_>,
) -> rusqlite::Result<Option<Identity>> {
    let sql = format!("SELECT {COLUMNS} FROM identity WHERE realm = ?1 AND name = ?2");
    connection
        .prepare_cached(&sql)?
        .query_row((who.realm(), who.name()), |row| identity(row, sealer))
        .optional()
}

pub(super) fn find_by_id(
    connection: &Connection,
    sealer: &Sealer,
    id: IdentityId,
) -> rusqlite::Result<Option<Identity>> {
    let sql = format!("SELECT {COLUMNS} FROM identity WHERE id = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row((id.0,), |row| identity(row, sealer))
        .optional()
}

/// Reads a row in the order of [`COLUMNS`].
///
/// A seed that does not open is logged and left out: its identity exists, and no token proves it.
pub(super) fn identity(row: &Row<'_>, sealer: &Sealer) -> rusqlite::Result<Identity> {
    let principal = principal(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?)?;
    let parameters = Parameters::new(
        row.get::<_, String>(4)?.parse().map_err(conversion)?,
        row.get(5)?,
        row.get(6)?,
    )
    .map_err(conversion)?;
    let totp = match sealer.open(row.get_ref(3)?.as_blob()?, principal.as_ref()) {
        Ok(seed) => Some(Totp::new(&seed, parameters)),
        Err(error) => {
            tracing::error!(?principal, %error, "a stored seed does not open");
            None
        }
    };
    Ok(Identity {
        id: IdentityId(row.get(0)?),
        principal,
        totp,
        parameters,
        state: match row.get_ref(7)?.as_str()? {
            "enabled" => State::Enabled,
            _ => State::Disabled,
        },
        created: unix_time(row.get(8)?),
        updated: unix_time(row.get(9)?),
    })
}

/// Makes a principal of what stands in the database: its length was checked on the way in, against a
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

fn unix_time(secs: i64) -> UnixTime {
    UnixTime::from_secs(u64::try_from(secs).unwrap_or(0))
}

pub(super) fn conversion(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
