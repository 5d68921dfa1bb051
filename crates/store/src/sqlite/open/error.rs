//! Why the store does not open.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

use crate::access::{Need, obstacle};
use crate::key_file::{KeyFileError, Keys};
use crate::ring::KeySource;
use crate::seal::KeyId;
use realmgate_core::StoreError;

/// Why the store does not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is no database, and it was not asked for one.
    #[error(
        "database {0}: does not exist. Pass the right configuration with --config FILE or REALMGATE_CONFIG, or create it with `realmgate init`"
    )]
    Missing(PathBuf),
    /// There is no database, but a key, so that there may have been one.
    #[error(
        "database {path}: does not exist, but {key} does, so it may have been moved or deleted; restore it, or start with an empty one (serve --init or `realmgate init`)"
    )]
    MissingBesideKey {
        /// Where the database should be.
        path: PathBuf,
        /// Where the keys are.
        key: KeySource,
    },
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
    /// An earlier version's, which cannot be brought up to date here.
    #[error(
        "database {0}: was made by an earlier version and cannot be read before it is brought up to date: run any command as the user who may write it"
    )]
    TooOld(PathBuf),
    /// This process may not do what it has to.
    #[error("database {path}: cannot be {}: {why}", match need { Need::Read => "read", Need::Write => "written" })]
    Access {
        /// The file.
        path: PathBuf,
        /// What was to be done.
        need: Need,
        /// Whose what is, and who runs.
        why: String,
    },
    /// Sealed, but there are no keys. Making one would not help.
    #[error(
        "{key}: does not exist, but the seeds in database {path} are encrypted with key {expected}"
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
        "{key}: holds {found}, but the seeds in database {path} are encrypted with key {expected}"
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
    /// Says why, if it is that this process may not use the files of the database.
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
            Self::Missing(_)
            | Self::MissingBesideKey { .. }
            | Self::TooOld(_)
            | Self::Access { .. }
            | Self::File(..)
            | Self::KeyFile(_)
            | Self::Sqlite(..)
            | Self::Migration(..)
            | Self::Store(_) => false,
        }
    }
}
