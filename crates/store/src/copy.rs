//! Copies a database to an empty one of the same or the other kind. Seeds stay encrypted, so no key
//! is needed.

use std::time::Duration;

use crate::copy_error::CopyError;
use crate::location::Location;
use crate::options::Backend;
use crate::seal::KeyId;
use crate::tables::{
    Before, Checksum, FAILURES, IDENTITIES, KEYS, PAGE, Rows, SPENT, STAMP, THROTTLE_KEY, Table,
    Target, USES, Value, key_in,
};
use crate::{postgres, sqlite};

/// What was copied, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The number of identities.
    pub identities: u64,
    /// The number of identities whose last use is known.
    pub uses: u64,
    /// The number of identities with used one-time tokens.
    pub one_time: u64,
    /// The number of failure counts; `None` if the processes of the target keep their own.
    pub failures: Option<u64>,
    /// The keys with which the seeds are encrypted. They are not in the database.
    pub keys: Vec<KeyId>,
    /// The SHA-256 of all of it, the same for every kind of database.
    pub checksum: String,
    /// A process or a node that uses the source, found by a dry run.
    pub used_by: Option<String>,
}

/// Copies all identities, with their uses and their failure counts, in one transaction of the
/// target. With `is_dry`, only reads both databases. Blocks.
///
/// `progress` is called with the number of rows that were read.
///
/// # Errors
/// [`CopyError`].
pub fn copy(
    from: &Backend,
    to: &Backend,
    timeout: Duration,
    is_dry: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, CopyError> {
    let (mut origin, used_by): (Box<dyn Rows>, _) = match from {
        Backend::Sqlite { path, .. } => {
            let (origin, user) = sqlite::Snapshot::open(path, timeout)?;
            (Box::new(origin), user)
        }
        Backend::Postgres(server) => {
            let (origin, user) = postgres::Snapshot::open(server, timeout)?;
            (Box::new(origin), user)
        }
    };
    let location = to.location();
    if is_dry {
        let before = match to {
            Backend::Sqlite { path, .. } => sqlite::look_before_copy(path, timeout)?,
            Backend::Postgres(server) => postgres::look_before_copy(server, timeout)?,
        };
        reject(&location, before)?;
        let copied = transfer(&mut *origin, None, before, from, progress)?;
        return Ok(Copied { used_by, ..copied });
    }
    if let Some(user) = used_by {
        return Err(CopyError::InUse(from.location(), user));
    }
    let (mut target, before): (Box<dyn Target>, _) = match to {
        Backend::Sqlite { path, .. } => {
            let (target, before) = sqlite::CopyTarget::open(path, timeout)?;
            (Box::new(target), before)
        }
        Backend::Postgres(server) => {
            let (target, before) = postgres::CopyTarget::open(server, timeout)?;
            (Box::new(target), before)
        }
    };
    reject(&location, before)?;
    let copied = transfer(&mut *origin, Some(&mut *target), before, from, progress)?;
    // Read from the target what it would commit.
    let written = transfer(&mut *target, None, before, to, &mut |_| {})?;
    if written != copied {
        return Err(CopyError::Differs(location));
    }
    target.commit()?;
    Ok(copied)
}

fn reject(location: &Location, before: Before) -> Result<(), CopyError> {
    match before.identities {
        0 => Ok(()),
        many => Err(CopyError::NotEmpty(location.clone(), many)),
    }
}

/// Reads a database, and writes what it reads to the target if there is one.
fn transfer(
    from: &mut dyn Rows,
    mut to: Option<&mut dyn Target>,
    before: Before,
    backend: &Backend,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, CopyError> {
    let mut checksum = Checksum::default();
    let mut keys = Vec::new();
    let mut read = 0;
    let mut table = |table: &Table| {
        checksum.table(table);
        let mut rows = Vec::new();
        let mut count = 0;
        if let Some(to) = &mut to {
            to.clear(table)?;
        }
        from.each(table, &mut |row| {
            checksum.row(&row);
            count += 1;
            read += 1;
            progress(read);
            if table.name == KEYS.name {
                keys.extend(key_in(&row));
            }
            if let Some(to) = &mut to {
                reject_null(table, &row, backend)?;
                rows.push(row);
                if rows.len() == PAGE {
                    to.add(table, std::mem::take(&mut rows))?;
                }
            }
            Ok(())
        })?;
        if let Some(to) = &mut to
            && !rows.is_empty()
        {
            to.add(table, rows)?;
        }
        Ok::<u64, CopyError>(count)
    };
    table(&KEYS)?;
    let identities = table(&IDENTITIES)?;
    let uses = table(&USES)?;
    let one_time = table(&SPENT)?;
    let failures = match before.is_in_use {
        true => None,
        false => {
            table(&THROTTLE_KEY)?;
            table(&STAMP)?;
            Some(table(&FAILURES)?)
        }
    };
    let last = from.last_number()?;
    if let Some(to) = &mut to {
        to.reserve(last)?;
    }
    checksum.number(last);
    Ok(Copied {
        identities,
        uses,
        one_time,
        failures,
        keys,
        checksum: checksum.end(),
        used_by: None,
    })
}

/// Fails if a text contains NUL, so that the message names the identity.
fn reject_null(table: &Table, row: &[Value], backend: &Backend) -> Result<(), CopyError> {
    for ((column, _), value) in table.columns.iter().zip(row) {
        if let (Value::Text(text), Some(Value::Number(id))) = (value, row.first())
            && text.contains('\0')
        {
            return Err(CopyError::Null(backend.location(), column, *id));
        }
    }
    Ok(())
}
