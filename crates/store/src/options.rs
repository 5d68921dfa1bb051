//! The options of the store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::CacheOptions;
use crate::key_ring::KeySource;
use crate::location::Location;
use crate::postgres::Server;

/// How to open the store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which database.
    pub database: Backend,
    /// Where the keys are that seal the seeds.
    pub key: KeySource,
    /// The longest wait for a connection, for a lock, and for a statement.
    pub timeout: Duration,
    /// How the cache in front behaves.
    pub cache: CacheOptions,
}

/// The database that holds identities.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A file of SQLite.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// How many connections read at the same time.
        readers: usize,
    },
    /// A PostgreSQL server.
    Postgres(Box<Server>),
}

impl Backend {
    /// Returns the file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite { path, .. } => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// Returns its name for messages.
    pub fn location(&self) -> Location {
        match self {
            Self::Sqlite { path, .. } => Location::File(path.clone()),
            Self::Postgres(server) => server.location(),
        }
    }
}
