//! Opening a database file: checked before it is touched, made and migrated where needed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rusqlite_migration::{M, Migrations};
use thiserror::Error;

use super::cache::{CacheOptions, Cached};
use super::draft::folder_of;
use super::key_file::{self, KeyFileError, Keys};
use super::pool::configure;
use super::ring::{KeySource, Ring};
use super::seal::KeyId;
use super::sqlite::Sqlite;
use crate::auth::StoreError;

/// `rlmg` in ASCII: SQLite's mark of whose file this is.
const APPLICATION_ID: i32 = 0x726c_6d67;

static MIGRATIONS: LazyLock<Migrations<'static>> = LazyLock::new(|| {
    Migrations::new(vec![
        M::up(include_str!("schema/001_identity.sql")),
        M::up(include_str!("schema/002_guard.sql")),
        M::up(include_str!("schema/003_keys.sql")),
        M::up(include_str!("schema/004_search.sql")),
        M::up(include_str!("schema/005_failures.sql")),
    ])
});

/// How to open the store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The SQLite file; made if missing.
    pub path: PathBuf,
    /// Where the keys are that seal the seeds.
    pub key: KeySource,
    /// How many connections read at the same time.
    pub readers: usize,
    /// The longest wait for a connection, and for a lock.
    pub timeout: Duration,
    /// How the cache in front behaves.
    pub cache: CacheOptions,
}

/// Opens, and at first start makes, the database and the key file.
///
/// Nothing is changed in a file that is not realmgate's, or that is sealed with a key that is not there.
///
/// # Errors
/// [`OpenError`].
pub async fn open(options: Options) -> Result<Arc<Cached>, OpenError> {
    let Options {
        path,
        key,
        readers,
        timeout,
        cache,
    } = options;
    let prepared = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || prepare(&path, key, timeout)).await
    };
    let (_, ring) = prepared.map_err(|_| OpenError::Store(StoreError::Closed))??;
    let sqlite = Sqlite::new(&path, readers, timeout, ring)?;
    Ok(Cached::start(sqlite, cache).await?)
}

/// Why the store does not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file cannot be made or opened.
    #[error("database {0}: cannot be opened")]
    File(PathBuf, #[source] io::Error),
    /// The file holds something else.
    #[error("database {0}: is not an SQLite database")]
    NotSqlite(PathBuf),
    /// An SQLite database of another program.
    #[error("database {0}: is an SQLite database, but not one of realmgate's")]
    NotOurs(PathBuf),
    /// A later version's.
    #[error("database {path}: has schema {found}, this version knows up to {known}")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The last known one.
        known: i64,
    },
    /// Sealed, but there are no keys. Making one would not help.
    #[error(
        "{key}: does not exist, but the seeds in database {path} are sealed with key {expected}"
    )]
    KeyMissing {
        /// Where keys should be.
        key: KeySource,
        /// The database.
        path: PathBuf,
        /// The key it needs.
        expected: KeyId,
    },
    /// Sealed with another key.
    #[error(
        "{key}: holds {found}, but the seeds in database {path} are sealed with key {expected}"
    )]
    KeyMismatch {
        /// Where the keys are.
        key: KeySource,
        /// The keys that are there.
        found: Keys,
        /// The database.
        path: PathBuf,
        /// The key it needs.
        expected: KeyId,
    },
    /// A file that somebody else should have made.
    #[error("{0}: does not exist")]
    NoCredential(KeySource),
    /// The key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// SQLite failed.
    #[error("database {0}: failed")]
    Sqlite(PathBuf, #[source] rusqlite::Error),
    /// The schema cannot be brought up to date.
    #[error("database {0}: cannot be migrated")]
    Migration(PathBuf, #[source] rusqlite_migration::Error),
    /// The open store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Says whether the cause is what was configured, not the state of the machine.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::NotSqlite(_)
            | Self::NotOurs(_)
            | Self::TooNew { .. }
            | Self::KeyMissing { .. }
            | Self::KeyMismatch { .. }
            | Self::NoCredential(_)
            | Self::KeyFile(KeyFileError::NotAKey(_)) => true,
            Self::File(..)
            | Self::KeyFile(_)
            | Self::Sqlite(..)
            | Self::Migration(..)
            | Self::Store(_) => false,
        }
    }
}

/// Checks the file, makes what is missing, and returns the database with its keys.
pub(super) fn prepare(
    path: &Path,
    source: KeySource,
    timeout: Duration,
) -> Result<(Connection, Ring), OpenError> {
    let unreachable = |error| OpenError::File(path.into(), error);
    let first_starts = lock_folder(path).map_err(unreachable)?;
    let keys = source.read()?;
    let fail = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotSqlite(path.into()),
        _ => OpenError::Sqlite(path.into(), error),
    };
    if path.try_exists().map_err(unreachable)? {
        look(path, &source, keys.as_ref(), timeout, fail)?;
    }
    make_private(path).map_err(unreachable)?;
    let mut connection = Connection::open(path).map_err(fail)?;
    connection.busy_timeout(timeout).map_err(fail)?;
    recognise(&connection, path, fail)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(fail)?;
    configure(&connection, timeout).map_err(fail)?;
    MIGRATIONS
        .to_latest(&mut connection)
        .map_err(|error| OpenError::Migration(path.into(), error))?;
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(fail)?;
    let keys = agree_on_key(&mut connection, path, &source, keys, fail)?;
    drop(first_starts);
    Ok((connection, Ring::new(source, keys)))
}

/// Opens a database that is there without a chance to change it, not even by tidying up its log.
pub(super) fn open_to_read(
    path: &Path,
    timeout: Duration,
    fail: impl Fn(rusqlite::Error) -> OpenError + Copy,
) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(timeout).map_err(fail)?;
    recognise(&connection, path, fail)?;
    Ok(connection)
}

/// Looks whether the database is ours and the keys fit, before anything is written.
fn look(
    path: &Path,
    source: &KeySource,
    keys: Option<&Keys>,
    timeout: Duration,
    fail: impl Fn(rusqlite::Error) -> OpenError + Copy,
) -> Result<(), OpenError> {
    let connection = open_to_read(path, timeout, fail)?;
    let named = named_keys(&connection).map_err(fail)?;
    hold(&named, path, source, keys)
}

/// Waits until no other process prepares a database in the same folder; the lock ends with the value.
pub(super) fn lock_folder(path: &Path) -> io::Result<File> {
    let folder = File::open(folder_of(path))?;
    folder.lock()?;
    Ok(folder)
}

/// Makes the file with mode 0600 if it is not there; SQLite gives its companions the same mode.
///
/// A file that is there is not opened: closing it would drop the locks that SQLite holds on it in
/// this process (`fcntl` locks are per process, not per descriptor).
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

fn recognise(
    connection: &Connection,
    path: &Path,
    fail: impl Fn(rusqlite::Error) -> OpenError + Copy,
) -> Result<(), OpenError> {
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
    Ok(())
}

/// How many migrations there are.
const SCHEMAS: i64 = 5;

/// Returns the keys that seeds are sealed with, or are about to be.
pub(super) fn named_keys(connection: &Connection) -> rusqlite::Result<Vec<KeyId>> {
    let schema: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let sql = match schema {
        0 => return Ok(Vec::new()),
        1 | 2 => "SELECT id FROM sealing_key",
        // What is only announced has sealed nothing.
        _ => "SELECT id FROM sealing_key WHERE state <> 'announced'",
    };
    connection
        .prepare(sql)?
        .query_map((), |row| row.get(0).map(KeyId))?
        .collect()
}

/// Says whether all keys are there that the database names.
fn hold(
    named: &[KeyId],
    path: &Path,
    source: &KeySource,
    keys: Option<&Keys>,
) -> Result<(), OpenError> {
    let is_missing = |id: &&KeyId| keys.is_none_or(|keys| keys.find(**id).is_none());
    let Some(&expected) = named.iter().find(is_missing) else {
        return Ok(());
    };
    let (key, path) = (source.clone(), path.into());
    Err(match keys.cloned() {
        Some(found) => OpenError::KeyMismatch {
            key,
            found,
            path,
            expected,
        },
        None => OpenError::KeyMissing {
            key,
            path,
            expected,
        },
    })
}

/// Sees to it that the keys are those that the database names; where it names none yet, takes the first
/// or makes one, and notes it.
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
    hold(&named, path, source, keys.as_ref())?;
    let keys = match (keys, source) {
        (Some(keys), _) => keys,
        (None, KeySource::File(file)) => {
            let keys = key_file::create(file)?;
            tracing::info!(path = %file.display(), made = %keys, "made a sealing key; back it up");
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
