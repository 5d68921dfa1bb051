//! Used steps that cannot be read.

use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::spent::{NAMED, READ, mended, used_steps};
use realmgate_core::{Identity, IdentityId, UnixTime};

/// Replaces the used steps of an identity if they cannot be read.
pub(super) fn mend(
    transaction: &Transaction<'_>,
    identity: &Identity,
    now: UnixTime,
) -> rusqlite::Result<()> {
    let steps: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT steps FROM spent WHERE identity = ?1")?
        .query_row((identity.id.0,), |row| row.get(0))
        .optional()?;
    if let Some(steps) = steps.and_then(|it| mended(&it, identity.parameters, now)) {
        transaction
            .prepare_cached("UPDATE spent SET steps = ?2 WHERE identity = ?1")?
            .execute((identity.id.0, steps))?;
    }
    Ok(())
}

/// Finds the identities whose used steps cannot be read.
pub(super) fn find_bad(connection: &Connection) -> rusqlite::Result<Vec<IdentityId>> {
    let (mut bad, mut after) = (Vec::new(), i64::MIN);
    let mut select = connection.prepare_cached(
        "SELECT identity, steps FROM spent WHERE identity > ?1 ORDER BY identity LIMIT ?2",
    )?;
    loop {
        let read = |row: &rusqlite::Row<'_>| {
            let id: i64 = row.get(0)?;
            let steps = row.get_ref(1)?.as_blob()?;
            Ok((id, used_steps(IdentityId(id), steps).is_err()))
        };
        let rows: Vec<_> = select
            .query_map((after, READ), read)?
            .collect::<rusqlite::Result<_>>()?;
        let last = rows.last().map(|(id, _)| *id);
        let found = rows.iter().filter(|(_, is_bad)| *is_bad);
        bad.extend(found.map(|(id, _)| IdentityId(*id)));
        match last {
            Some(last) if rows.len() == READ as usize && bad.len() < NAMED => after = last,
            _ => break,
        }
    }
    bad.truncate(NAMED);
    Ok(bad)
}
