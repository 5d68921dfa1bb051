//! A copy of the database, made while it is served.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use thiserror::Error;

use super::open::{OpenError, named_keys, open_existing};
use super::rows::count;
use crate::access::{Need, Way};
use crate::draft::Draft;
use crate::seal::KeyId;

/// What is in a copy.
#[derive(Clone, Debug)]
pub struct Backup {
    /// How many bytes it has.
    pub bytes: u64,
    /// How many identities.
    pub identities: u64,
    /// The keys that its seeds are sealed with: needed to use it, and not in it.
    pub keys: Vec<KeyId>,
}

/// Copies a database as it is at this moment, mode 0600, to where nothing is.
///
/// The copy appears whole or not at all. The keys are not needed for it.
///
/// # Errors
/// [`BackupError`].
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
    let (draft, _) = Draft::beside(to).map_err(fail)?;
    let path = draft.path().to_str();
    let path = path.ok_or_else(|| fail(io::Error::from(io::ErrorKind::InvalidFilename)))?;
    connection
        .execute("VACUUM INTO ?1", (path,))
        .map_err(|error| BackupError::Copy(to.into(), error))?;
    let (copy, _) = open(draft.path())?;
    let backup = Backup {
        bytes: std::fs::metadata(draft.path()).map_err(fail)?.len(),
        identities: identities(&copy).map_err(failed)?,
        keys: named_keys(&copy).map_err(failed)?,
    };
    drop(copy);
    match draft.put() {
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

/// Why there is no copy.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Nothing is overwritten.
    #[error("{0}: exists already, and is not overwritten")]
    Exists(PathBuf),
    /// The copy cannot be made.
    #[error("{0}: the copy cannot be made")]
    Copy(PathBuf, #[source] rusqlite::Error),
    /// The file cannot be written.
    #[error("{0}: cannot be written")]
    Write(PathBuf, #[source] io::Error),
}
