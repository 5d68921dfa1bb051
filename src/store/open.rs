//! Opening a database file: checked before it is touched, made and migrated where needed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use rusqlite_migration::{M, Migrations};
use thiserror::Error;

use super::cache::{CacheOptions, Cached};
use super::key_file::{self, KeyFileError};
use super::pool::configure;
use super::seal::{KeyId, Sealer, SealingKey};
use super::sqlite::Sqlite;
use crate::auth::StoreError;

/// `rlmg` in ASCII: SQLite's mark of whose file this is.
const APPLICATION_ID: i32 = 0x726c_6d67;

static MIGRATIONS: LazyLock<Migrations<'static>> = LazyLock::new(|| {
    Migrations::new(vec![
        M::up(include_str!("schema/001_identity.sql")),
        M::up(include_str!("schema/002_guard.sql")),
    ])
});

/// How to open the store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The SQLite file; made if missing.
    pub path: PathBuf,
    /// The key file; made if missing and the database has no key yet.
    pub key_file: PathBuf,
    /// How many connections read at the same time.
    pub readers: usize,
    /// The longest wait for a connection, and for a lock.
    pub timeout: Duration,
    /// How the cache in front behaves.
    pub cache: CacheOptions,
}

/// Opens, and at first start makes, the database and the key file.
///
/// Nothing is changed in a file that is not realmgate's, or that another key seals.
///
/// # Errors
/// [`OpenError`].
pub async fn open(options: Options) -> Result<Arc<Cached>, OpenError> {
    let Options {
        path,
        key_file,
        readers,
        timeout,
        cache,
    } = options;
    let prepared = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || prepare(&path, &key_file, timeout)).await
    };
    let key = prepared.map_err(|_| OpenError::Store(StoreError::Closed))??;
    let sqlite = Sqlite::new(&path, readers, timeout, Sealer::new(&key))?;
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
    /// Sealed, but the key file is not there. Making one would not help.
    #[error(
        "key file {key_file}: does not exist, but the seeds in database {path} are sealed with key {expected}"
    )]
    KeyMissing {
        /// Where the key should be.
        key_file: PathBuf,
        /// The database.
        path: PathBuf,
        /// The key it needs.
        expected: KeyId,
    },
    /// Sealed with another key.
    #[error(
        "key file {key_file}: holds key {found}, but the seeds in database {path} are sealed with key {expected}"
    )]
    KeyMismatch {
        /// Where the key is.
        key_file: PathBuf,
        /// The key in it.
        found: KeyId,
        /// The database.
        path: PathBuf,
        /// The key it needs.
        expected: KeyId,
    },
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
            | Self::KeyFile(KeyFileError::NotAKey(_)) => true,
            Self::File(..)
            | Self::KeyFile(_)
            | Self::Sqlite(..)
            | Self::Migration(..)
            | Self::Store(_) => false,
        }
    }
}

/// Checks the file, makes what is missing, and returns the key.
fn prepare(path: &Path, key_file: &Path, timeout: Duration) -> Result<SealingKey, OpenError> {
    let unreachable = |error| OpenError::File(path.into(), error);
    let first_starts = lock_folder(path).map_err(unreachable)?;
    make_private(path).map_err(unreachable)?;
    let fail = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotSqlite(path.into()),
        _ => OpenError::Sqlite(path.into(), error),
    };
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
    let key = agree_on_key(&mut connection, path, key_file, fail)?;
    drop(first_starts);
    Ok(key)
}

/// Waits until no other process prepares a database in the same folder; the lock ends with the value.
fn lock_folder(path: &Path) -> io::Result<File> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")))?;
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
const SCHEMAS: i64 = 2;

/// Reads the key that the database names; where it names none yet, reads or makes one and notes it.
fn agree_on_key(
    connection: &mut Connection,
    path: &Path,
    key_file: &Path,
    fail: impl Fn(rusqlite::Error) -> OpenError + Copy,
) -> Result<SealingKey, OpenError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail)?;
    let expected = transaction
        .prepare("SELECT id FROM sealing_key")
        .and_then(|mut statement| {
            statement
                .query_map((), |row| row.get(0).map(KeyId))?
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(fail)?;
    let key = match (key_file::read(key_file)?, expected.first()) {
        (Some(key), None) => key,
        (None, None) => {
            let key = key_file::create(key_file)?;
            tracing::info!(path = %key_file.display(), id = %key.id(), "made a sealing key; back it up");
            key
        }
        (Some(key), Some(_)) if expected.contains(&key.id()) => return Ok(key),
        (Some(key), Some(&expected)) => {
            return Err(OpenError::KeyMismatch {
                key_file: key_file.into(),
                found: key.id(),
                path: path.into(),
                expected,
            });
        }
        (None, Some(&expected)) => {
            return Err(OpenError::KeyMissing {
                key_file: key_file.into(),
                path: path.into(),
                expected,
            });
        }
    };
    transaction
        .execute("INSERT INTO sealing_key (id) VALUES (?1)", (key.id().0,))
        .map_err(fail)?;
    transaction.commit().map_err(fail)?;
    Ok(key)
}

#[cfg(test)]
mod tests;
