//! Opens a database file. Checks it before changing it; creates and migrates it where needed.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use rusqlite_migration::{M, Migrations};

use super::keys::SqliteKeys;
use super::pool::configure;
use super::query::Sqlite;
use crate::access::Way;
use crate::atomic_file::{folder_of, sweep};
use crate::folder::lock_folder;
use crate::intent::{Intent, may_make};
use crate::key_file::{self, Keys};
use crate::key_ring::{KeyRing, KeySource};
use crate::open_error::{OpenError, hold};
use crate::seal::KeyId;
use realmgate_core::StoreError;

/// `rlmg` in ASCII, SQLite's `application_id` of realmgate's databases.
const APPLICATION_ID: i32 = 0x726c_6d67;

pub(super) static MIGRATIONS: LazyLock<Migrations<'static>> = LazyLock::new(|| {
    Migrations::new(vec![
        M::up(include_str!("schema/001_identity.sql")),
        M::up(include_str!("schema/002_guard.sql")),
        M::up(include_str!("schema/003_keys.sql")),
        M::up(include_str!("schema/004_search.sql")),
        M::up(include_str!("schema/005_failures.sql")),
        M::up(include_str!("schema/006_realm.sql")),
        M::up(include_str!("schema/007_administration.sql")),
        M::up(include_str!("schema/008_sessions.sql")),
        M::up(include_str!("schema/009_lists.sql")),
        M::up(include_str!("schema/010_revisions.sql")),
    ])
});

/// Opens the file. Creates it and the key file if `intent` allows it.
pub(crate) async fn open(
    path: PathBuf,
    key: KeySource,
    (readers, timeout): (usize, Duration),
    intent: Intent,
) -> Result<Sqlite, OpenError> {
    let prepared = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || prepare(&path, key, timeout, intent)).await
    };
    let prepared = prepared.map_err(|_| OpenError::Store(StoreError::Closed))??;
    let Prepared {
        connection,
        ring,
        way,
    } = prepared;
    drop(connection);
    Ok(Sqlite::new(&path, readers, timeout, (ring, way))?)
}

/// Fails if there is no file and `intent` would not create one. Changes nothing.
pub(crate) fn expect(path: &Path, key: &KeySource, intent: Intent) -> Result<(), OpenError> {
    let unreachable = |error| OpenError::File(path.into(), error).explained(path, intent.need());
    match path.try_exists().map_err(unreachable)? {
        true => Ok(()),
        false => may_make(path.into(), key, key.read()?.as_ref(), intent),
    }
}

/// Opens an existing file to maintain its keys.
pub(crate) fn open_keys(
    path: &Path,
    source: KeySource,
    timeout: Duration,
    intent: Intent,
) -> Result<(SqliteKeys, KeyRing), OpenError> {
    let Prepared {
        connection, ring, ..
    } = prepare(path, source, timeout, intent)?;
    Ok((SqliteKeys(connection), ring))
}

/// A database that is ready for use.
pub(super) struct Prepared {
    pub(super) connection: Connection,
    pub(super) ring: KeyRing,
    /// The mode for further connections.
    pub(super) way: Way,
}

/// Checks the file, creates what is missing, and returns the database with its keys.
pub(super) fn prepare(
    path: &Path,
    source: KeySource,
    timeout: Duration,
    intent: Intent,
) -> Result<Prepared, OpenError> {
    prepare_or_fail(path, source, timeout, intent)
        .map_err(|error| error.explained(path, intent.need()))
}

fn prepare_or_fail(
    path: &Path,
    source: KeySource,
    timeout: Duration,
    intent: Intent,
) -> Result<Prepared, OpenError> {
    let unreachable = |error| OpenError::File(path.into(), error);
    let fail = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotSqlite(path.into()),
        _ => OpenError::Sqlite(path.into(), error),
    };
    if !path.try_exists().map_err(unreachable)? {
        may_make(path.into(), &source, source.read()?.as_ref(), intent)?;
    }
    if intent == Intent::Read
        && let Some(prepared) = prepare_to_read(path, &source, timeout, fail)?
    {
        return Ok(prepared);
    }
    let first_starts = lock_folder(path).map_err(unreachable)?;
    sweep(folder_of(path));
    if let KeySource::File(file) = &source {
        sweep(folder_of(file));
    }
    let keys = source.read()?;
    let is_new = match path.try_exists().map_err(unreachable)? {
        true => look(path, &source, keys.as_ref(), timeout, fail)? == 0,
        false => true,
    };
    if is_new {
        may_make(path.into(), &source, keys.as_ref(), intent)?;
        make_private(path).map_err(unreachable)?;
    }
    let way = Way::Shared;
    let mut connection = Connection::open(way.uri(path)).map_err(fail)?;
    connection.busy_timeout(timeout).map_err(fail)?;
    recognise(&connection, path, fail)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(fail)?;
    configure(&connection, timeout).map_err(fail)?;
    MIGRATIONS
        .to_latest(&mut connection)
        .map_err(|error| OpenError::Migration(path.into(), error))?;
    mark(&connection).map_err(fail)?;
    let keys = agree_on_key(&mut connection, path, &source, keys, fail)?;
    drop(first_starts);
    let ring = KeyRing::new(source, keys);
    Ok(Prepared {
        connection,
        ring,
        way,
    })
}

/// Prepares a database that can be read without a change; `None` if its schema is older or it has
/// no key yet.
fn prepare_to_read(
    path: &Path,
    source: &KeySource,
    timeout: Duration,
    fail: impl Fn(rusqlite::Error) -> OpenError + Copy,
) -> Result<Option<Prepared>, OpenError> {
    let way = Way::to_read(path);
    let keys = source.read()?;
    let schema = look(path, source, keys.as_ref(), timeout, fail)?;
    let Some(keys) = keys else {
        return Ok(None);
    };
    if schema < SCHEMAS {
        return match way {
            Way::Shared => Ok(None),
            Way::ReadOnly | Way::Immutable => Err(OpenError::TooOld(path.into())),
        };
    }
    let connection = Connection::open(way.uri(path)).map_err(fail)?;
    configure(&connection, timeout).map_err(fail)?;
    let is_sealed = !named_keys(&connection).map_err(fail)?.is_empty();
    let ring = KeyRing::new(source.clone(), keys);
    Ok(is_sealed.then_some(Prepared {
        connection,
        ring,
        way,
    }))
}

/// Opens an existing database and returns its schema version.
pub(super) fn open_existing(
    path: &Path,
    way: Way,
    timeout: Duration,
    fail: impl Fn(rusqlite::Error) -> OpenError + Copy,
) -> Result<(Connection, i64), OpenError> {
    let connection = Connection::open(way.uri(path)).map_err(fail)?;
    connection.busy_timeout(timeout).map_err(fail)?;
    let schema = recognise(&connection, path, fail)?;
    Ok((connection, schema))
}

/// Checks, before anything is written, that the database is realmgate's and that the keys match.
/// Returns its schema version, 0 if it is empty.
fn look(
    path: &Path,
    source: &KeySource,
    keys: Option<&Keys>,
    timeout: Duration,
    fail: impl Fn(rusqlite::Error) -> OpenError + Copy,
) -> Result<i64, OpenError> {
    // Read-only, so that not even the log is cleaned up.
    let way = match Way::to_read(path) {
        Way::Shared => Way::ReadOnly,
        way => way,
    };
    let (connection, schema) = open_existing(path, way, timeout, fail)?;
    let named = named_keys(&connection).map_err(fail)?;
    hold(&named, &path.into(), source, keys)?;
    Ok(schema)
}

/// Creates the file with mode 0600 if it is missing; SQLite gives the log and the index the same
/// mode.
///
/// An existing file is not opened: closing it would release the locks that SQLite holds on it in
/// this process, because `fcntl` locks belong to the process, not to the descriptor.
fn make_private(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Marks a database as realmgate's.
pub(super) fn mark(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)
}

/// Returns the schema version of a database that is realmgate's or empty.
fn recognise(
    connection: &Connection,
    path: &Path,
    fail: impl Fn(rusqlite::Error) -> OpenError + Copy,
) -> Result<i64, OpenError> {
    let application: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(fail)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(fail)?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(OpenError::NotOurs(path.into()));
    }
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(fail)?;
    if found > SCHEMAS {
        return Err(OpenError::TooNew {
            path: path.into(),
            found,
            known: SCHEMAS,
        });
    }
    Ok(found)
}

/// The number of migrations.
pub(super) const SCHEMAS: i64 = 10;

/// Returns the keys that seeds are encrypted with, or are about to be.
pub(super) fn named_keys(connection: &Connection) -> rusqlite::Result<Vec<KeyId>> {
    let schema: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let sql = match schema {
        0 => return Ok(Vec::new()),
        1 | 2 => "SELECT id FROM sealing_key",
        // An announced key has encrypted nothing yet.
        _ => "SELECT id FROM sealing_key WHERE state <> 'announced'",
    };
    connection
        .prepare(sql)?
        .query_map((), |row| row.get(0).map(KeyId))?
        .collect()
}

/// Checks that the keys are those that the database names. If it names none yet, records the first
/// key, or creates one.
fn agree_on_key(
    connection: &mut Connection,
    path: &Path,
    source: &KeySource,
    keys: Option<Keys>,
    fail: impl Fn(rusqlite::Error) -> OpenError + Copy,
) -> Result<Keys, OpenError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail)?;
    let named = named_keys(&transaction).map_err(fail)?;
    hold(&named, &path.into(), source, keys.as_ref())?;
    let keys = match (keys, source) {
        (Some(keys), _) => keys,
        (None, KeySource::File(file)) => {
            let keys = key_file::create(file)?;
            tracing::info!(path = %file.display(), %keys, "created an encryption key; back it up");
            keys
        }
        (None, source) => return Err(OpenError::NoCredential(source.clone())),
    };
    if named.is_empty()
        && let Some(first) = keys.ids().next()
    {
        transaction
            .execute("INSERT INTO sealing_key (id) VALUES (?1)", (first.0,))
            .map_err(fail)?;
    }
    transaction.commit().map_err(fail)?;
    Ok(keys)
}

#[cfg(test)]
mod tests;
