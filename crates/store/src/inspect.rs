//! Connects to a database and describes it, without changing anything.

use crate::inspection::Inspection;
use crate::key_ring::KeySource;
use crate::location::Location;
use crate::open_error::{OpenError, hold};
use crate::options::{Backend, Options};
use crate::{postgres, sqlite};

/// Connects to the database, and checks that its keys are available.
///
/// # Errors
/// [`OpenError`].
pub async fn inspect(options: &Options) -> Result<Inspection, OpenError> {
    let timeout = options.timeout;
    let found = match &options.database {
        Backend::Sqlite { path, .. } => sqlite::inspect(path, timeout)?,
        Backend::Postgres(server) => postgres::inspect(server, timeout).await?,
    };
    if found.schema > found.known {
        return Err(OpenError::TooNew {
            path: options.database.location(),
            found: found.schema,
            known: found.known,
        });
    }
    agree(&found, &options.database.location(), &options.key)?;
    Ok(found)
}

fn agree(found: &Inspection, location: &Location, key: &KeySource) -> Result<(), OpenError> {
    let keys = key.read()?;
    hold(&found.keys, location, key, keys.as_ref())
}
