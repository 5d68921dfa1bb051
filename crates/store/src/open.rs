//! Opening the store, whatever its database is.

use std::sync::Arc;

use crate::cache::Cached;
use crate::intent::Intent;
use crate::open_error::OpenError;
use crate::options::{Backend, Options};
use crate::{postgres, sqlite};

/// Opens the database, and makes it and the key file where `intent` says so.
///
/// Nothing is changed in a database that is not realmgate's, or that is sealed with a key that is not there.
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

/// Fails if there is no database file and `intent` would not make one. It touches nothing. Whether a server
/// holds a database is seen when it is opened.
///
/// # Errors
/// [`OpenError`].
pub fn expect(options: &Options, intent: Intent) -> Result<(), OpenError> {
    match &options.database {
        Backend::Sqlite { path, .. } => sqlite::expect(path, &options.key, intent),
        Backend::Postgres(_) => Ok(()),
    }
}
