use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;
use thiserror::Error;

use crate::access::{Need, obstacle};
use crate::key_file::{KeyFileError, Keys};
use crate::key_ring::KeySource;
use crate::location::Location;
use crate::seal::KeyId;
use realmgate_core::StoreError;

/// Why the store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is no database, and none may be created.
    #[error(
        "database {}. Pass the right configuration with --config FILE or REALMGATE_CONFIG, or create it with `realmgate init`", missing(.0)
    )]
    Missing(Location),
    /// There is no database but a key, so the database may have been moved or deleted.
    #[error(
        "database {path}: does not exist, but {key} does, so it may have been moved or deleted; restore it, or start with an empty one (serve --init or `realmgate init`)"
    )]
    MissingBesideKey {
        /// The expected database.
        path: Location,
        /// The source of the keys.
        key: KeySource,
    },
    /// The file cannot be created or opened.
    #[error("database {0}: cannot be opened")]
    File(PathBuf, #[source] io::Error),
    /// The file is not an SQLite database.
    #[error("database {0}: is not an SQLite database")]
    NotSqlite(PathBuf),
    /// The SQLite database belongs to another program.
    #[error("database {0}: is an SQLite database, but not one of realmgate's")]
    NotOurs(PathBuf),
    /// The schema is of a later version.
    #[error("database {path}: has schema {found}, this version knows up to {known}")]
    TooNew {
        /// The database.
        path: Location,
        /// Its schema.
        found: i64,
        /// The latest schema that this version supports.
        known: i64,
    },
    /// The schema is older, and this process may not migrate it.
    #[error(
        "database {0}: has the schema of an earlier version and must be migrated first: run any command as a user who may write it"
    )]
    TooOld(PathBuf),
    /// The schema on a server is older, and only a node that starts may migrate it.
    #[error(
        "database {path}: has schema {found} of an earlier version; `realmgate serve` or `realmgate init` of this version upgrades it to {known}"
    )]
    Older {
        /// The database.
        path: Location,
        /// Its schema.
        found: i64,
        /// The latest schema that this version supports.
        known: i64,
    },
    /// The schema on a server has no tables, and none may be created.
    #[error(
        "database {path}: schema {schema} has no tables of realmgate; {}",
        match others.as_slice() {
            [] => "create them with `realmgate init` (or serve --init), or restore a dump".to_owned(),
            some => format!("set store.schema if you mean {}", some.join(" or ")),
        }
    )]
    NoTables {
        /// The database.
        path: Location,
        /// The schema.
        schema: Box<str>,
        /// Other schemas of the database that have such tables.
        others: Vec<String>,
    },
    /// This process lacks a permission.
    #[error("database {path}: cannot be {}: {why}", match need { Need::Read => "read", Need::Write => "written" })]
    Access {
        /// The file.
        path: PathBuf,
        /// The access that was needed.
        need: Need,
        /// The owner and mode of the file, and the user of this process.
        why: String,
    },
    /// The seeds are encrypted, but there are no keys. A new key would not help.
    #[error(
        "{key}: does not exist, but the seeds in database {path} are encrypted with key {expected}"
    )]
    KeyMissing {
        /// The source that has no keys.
        key: KeySource,
        /// The database.
        path: Location,
        /// A key that it needs.
        expected: KeyId,
    },
    /// The seeds are encrypted with other keys.
    #[error(
        "{key}: holds {found}, but the seeds in database {path} are encrypted with key {expected}"
    )]
    KeyMismatch {
        /// The source of the keys.
        key: KeySource,
        /// The available keys.
        found: Keys,
        /// The database.
        path: Location,
        /// A key that the database needs.
        expected: KeyId,
    },
    /// A file that another program should have provided.
    #[error("{0}: does not exist")]
    NoCredential(KeySource),
    /// The key file is invalid.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// SQLite failed.
    #[error("database {0}: failed")]
    Sqlite(PathBuf, #[source] rusqlite::Error),
    /// The schema cannot be migrated.
    #[error("database {0}: cannot be migrated")]
    Migration(PathBuf, #[source] rusqlite_migration::Error),
    /// The server cannot be reached, or rejects the connection.
    #[error("database {0}: cannot connect: {1}")]
    Connect(Location, Arc<str>),
    /// The server failed, or sent an unexpected response.
    #[error("database {0}: {1}")]
    Server(Location, Arc<str>),
    /// The server or its database does not meet the requirements.
    #[error("database {0}: {1}")]
    Unfit(Location, Arc<str>),
    /// The store failed after it was opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Says that a database does not exist. A user in the wrong directory needs the absolute path.
fn missing(location: &Location) -> String {
    if let Location::File(path) = location
        && path.is_relative()
        && let (Ok(whole), Ok(folder)) = (std::path::absolute(path), std::env::current_dir())
    {
        return format!(
            "{}: does not exist: {} in store.url is relative to the working directory, {}",
            whole.display(),
            path.display(),
            folder.display()
        );
    }
    format!("{location}: does not exist")
}

impl OpenError {
    /// Replaces the error by [`OpenError::Access`] if this process lacks a permission.
    pub(crate) fn explained(self, path: &Path, need: Need) -> Self {
        let is_about_files = match &self {
            Self::File(..) => true,
            Self::Sqlite(_, error) => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::CannotOpen
                        | ErrorCode::ReadOnly
                        | ErrorCode::PermissionDenied
                        | ErrorCode::SystemIoFailure
                )
            ),
            _ => false,
        };
        match obstacle(path, need).filter(|_| is_about_files) {
            Some(why) => {
                let path = path.into();
                Self::Access { path, need, why }
            }
            None => self,
        }
    }

    /// Returns whether the configuration is the cause, rather than the state of the machine.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::NotSqlite(_)
            | Self::NotOurs(_)
            | Self::Unfit(..)
            | Self::TooNew { .. }
            | Self::KeyMissing { .. }
            | Self::KeyMismatch { .. }
            | Self::NoCredential(_)
            | Self::KeyFile(KeyFileError::NotAKey(_)) => true,
            Self::Missing(_)
            | Self::MissingBesideKey { .. }
            | Self::TooOld(_)
            | Self::Older { .. }
            | Self::NoTables { .. }
            | Self::Access { .. }
            | Self::File(..)
            | Self::KeyFile(_)
            | Self::Sqlite(..)
            | Self::Migration(..)
            | Self::Connect(..)
            | Self::Server(..)
            | Self::Store(_) => false,
        }
    }
}

/// Fails unless all keys that a database names are available.
pub(crate) fn hold(
    named: &[KeyId],
    location: &Location,
    source: &KeySource,
    keys: Option<&Keys>,
) -> Result<(), OpenError> {
    let is_missing = |id: &&KeyId| keys.is_none_or(|keys| keys.find(**id).is_none());
    let Some(&expected) = named.iter().find(is_missing) else {
        return Ok(());
    };
    let (key, path) = (source.clone(), location.clone());
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
