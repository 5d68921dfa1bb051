//! Opens the store, for any kind of database.

use std::sync::Arc;

use crate::cache::Cached;
use crate::intent::Intent;
use crate::open_error::OpenError;
use crate::options::{Backend, Options};
use crate::{postgres, sqlite};

/// Opens the database. Creates it and the key file if `intent` allows it.
///
/// Changes nothing in a database that belongs to another program, or that is encrypted with a key
/// that is not available.
///
/// # Errors
/// [`OpenError`].
pub async fn open(options: Options, intent: Intent) -> Result<Arc<Cached>, OpenError> {
    let Options {
        database,
        key,
        timeout,
        cache,
    } = options;
    let database: Box<dyn crate::database::Database> = match database {
        Backend::Sqlite { path, readers } => {
            Box::new(sqlite::open(path, key, (readers, timeout), intent).await?)
        }
        Backend::Postgres(server) => Box::new(postgres::open(*server, key, timeout, intent).await?),
    };
    Ok(Cached::start(database, cache).await?)
}

/// Fails if the database file does not exist and `intent` does not allow creating it. Has no side
/// effects. For a server, existence is checked when it is opened.
///
/// # Errors
/// [`OpenError`].
pub fn expect(options: &Options, intent: Intent) -> Result<(), OpenError> {
    match &options.database {
        Backend::Sqlite { path, .. } => sqlite::expect(path, &options.key, intent),
        Backend::Postgres(_) => Ok(()),
    }
}
