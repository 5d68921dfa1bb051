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
    /// The database.
    pub database: Backend,
    /// The source of the keys that encrypt the seeds.
    pub key: KeySource,
    /// The maximum wait for a connection, for a lock, and for a statement.
    pub timeout: Duration,
    /// The settings of the cache.
    pub cache: CacheOptions,
}

impl Options {
    /// Makes the options of an SQLite file with its keys beside it: 2 readers, 2 s, and the default
    /// cache.
    pub fn of_file(path: PathBuf) -> Self {
        Self {
            key: KeySource::File(path.with_extension("key")),
            database: Backend::Sqlite { path, readers: 2 },
            timeout: Duration::from_secs(2),
            cache: CacheOptions::default(),
        }
    }
}

/// A database of identities.
#[derive(Clone, Debug)]
pub enum Backend {
    /// An SQLite file.
    Sqlite {
        /// The path of the file.
        path: PathBuf,
        /// The number of connections that read concurrently.
        readers: usize,
    },
    /// A PostgreSQL server.
    Postgres(Box<Server>),
}

impl Backend {
    /// Returns the path of the file; `None` for a server.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite { path, .. } => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// Returns the name of the database in messages.
    pub fn location(&self) -> Location {
        match self {
            Self::Sqlite { path, .. } => Location::File(path.clone()),
            Self::Postgres(server) => server.location(),
        }
    }
}
