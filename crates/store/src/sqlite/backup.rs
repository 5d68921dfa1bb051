//! Copies the database while it is in use.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use thiserror::Error;

use super::open::{named_keys, open_existing};
use super::rows::count;
use crate::access::{Need, Way};
use crate::atomic_file::{AtomicFile, folder_of};
use crate::open_error::OpenError;
use crate::seal::KeyId;

/// The contents of a copy.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The size in bytes.
    pub bytes: u64,
    /// The number of identities.
    pub identities: u64,
    /// The keys that its seeds are encrypted with. The copy does not contain them.
    pub keys: Vec<KeyId>,
}

/// Copies a snapshot of a database to a new file with mode 0600.
///
/// The copy appears completely or not at all. Needs no keys.
///
/// # Errors
/// [`BackupError`]; nothing is ever overwritten.
pub fn backup(database: &Path, timeout: Duration, to: &Path) -> Result<Backup, BackupError> {
    let fail = |error| BackupError::Write(to.into(), error);
    if to.try_exists().map_err(fail)? {
        return Err(BackupError::Exists(to.into()));
    }
    let failed = |error| OpenError::Sqlite(database.into(), error);
    let open = |path: &Path| {
        let opened = open_existing(path, Way::to_copy(path), timeout, failed);
        opened.map_err(|error| error.explained(path, Need::Read))
    };
    let (connection, _) = open(database)?;
    let folder = folder_of(to);
    if !folder.try_exists().map_err(fail)? {
        let missing = format!("directory {} does not exist", folder.display());
        return Err(fail(io::Error::new(io::ErrorKind::NotFound, missing)));
    }
    let file = AtomicFile::beside(to).map_err(fail)?;
    let path = file.path().to_str();
    let path = path.ok_or_else(|| fail(io::Error::from(io::ErrorKind::InvalidFilename)))?;
    connection
        .execute("VACUUM INTO ?1", (path,))
        .map_err(|error| BackupError::Copy(to.into(), error))?;
    let (copy, _) = open(file.path())?;
    let backup = Backup {
        bytes: std::fs::metadata(file.path()).map_err(fail)?.len(),
        identities: identities(&copy).map_err(failed)?,
        keys: named_keys(&copy).map_err(failed)?,
    };
    drop(copy);
    match file.put() {
        Ok(()) => Ok(backup),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(BackupError::Exists(to.into()))
        }
        Err(error) => Err(fail(error)),
    }
}

fn identities(copy: &Connection) -> rusqlite::Result<u64> {
    copy.query_row("SELECT count(*) FROM identity", (), count)
}

/// Why no copy was made.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The database cannot be opened or read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The target exists.
    #[error("{0}: already exists, and is not overwritten")]
    Exists(PathBuf),
    /// SQLite cannot copy the database.
    #[error("{0}: cannot copy the database")]
    Copy(PathBuf, #[source] rusqlite::Error),
    /// The target cannot be written.
    #[error("{0}: cannot be written")]
    Write(PathBuf, #[source] io::Error),
}
