//! Opens a database on a server: checks it before changing anything, then creates or migrates its
//! schema if necessary.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::claims::CLAIMING;
use super::clock::ServerClock;
use super::connect::Connector;
use super::fault::Fault;
use super::pool::Pools;
use super::query::{Postgres, Schema};
use super::schema::{Found, KNOWN, Migration, about, look, schemas};
use super::server::Server;
use crate::atomic_file::{folder_of, sweep};
use crate::intent::{Intent, may_make};
use crate::key_file::{self, Keys};
use crate::key_ring::{KeyRing, KeySource};
use crate::location::Location;
use crate::metrics::DatabaseCounts;
use crate::open_error::{OpenError, hold};
use realmgate_core::StoreError;

/// The first version that has all required features.
const OLDEST: i32 = 130_000;

/// A server whose database can be used, before anything is written.
pub(super) struct Prepared {
    pub(super) pools: Arc<Pools>,
    pub(super) schema: Schema,
    pub(super) found: Found,
}

/// Connects, checks the server, and inspects the schema.
pub(super) async fn prepare(server: Server, timeout: Duration) -> Result<Prepared, OpenError> {
    let location = server.location();
    let fail = |fault: Fault| failed(&location, fault);
    let connector = Connector::new(server);
    let connector =
        connector.map_err(|error| OpenError::Unfit(location.clone(), error.to_string().into()))?;
    let configured = connector.server().schema.clone();
    let pools = Arc::new(Pools::new(connector, timeout).map_err(fail)?);
    let about = about(&pools).await.map_err(fail)?;
    let unfit = |text: String| Err(OpenError::Unfit(location.clone(), text.into()));
    if about.version < OLDEST {
        return unfit(format!(
            "the server is version {}, expected 13 or later",
            about.version / 10_000
        ));
    }
    if about.encoding != "UTF8" {
        return unfit(format!("its encoding is {}, expected UTF8", about.encoding));
    }
    let schema = match (configured, about.schema) {
        (Some(schema), _) => schema,
        (None, Some(schema)) => schema.into(),
        (None, None) => {
            return unfit("no schema of the search path exists; set store.schema".to_owned());
        }
    };
    if !Server::is_schema(&schema) {
        return unfit(format!(
            "schema {schema:?} is not of lower-case letters, digits and underscores; set store.schema"
        ));
    }
    let schema = Schema(schema.as_ref().into());
    let found = look(&pools, &schema).await.map_err(fail)?;
    let Some(found) = found else {
        return unfit(format!(
            "schema {} holds a table of another program; set store.schema",
            schema.0
        ));
    };
    Ok(Prepared {
        pools,
        schema,
        found,
    })
}

/// Opens the database. Creates its tables and the key file if `intent` allows it.
pub(crate) async fn open(
    server: Server,
    source: KeySource,
    timeout: Duration,
    intent: Intent,
) -> Result<Postgres, OpenError> {
    let location = server.location();
    let Prepared {
        pools,
        schema,
        found,
    } = prepare(server, timeout).await?;
    let keys = agree(&pools, &schema, &location, (&source, found), intent).await?;
    Ok(Postgres {
        pools,
        schema,
        ring: Arc::new(KeyRing::new(source, keys)),
        counts: DatabaseCounts::default(),
        writes_fail: AtomicBool::default(),
        claiming: Semaphore::new(CLAIMING),
        claims: Default::default(),
        clock: ServerClock::default(),
    })
}

/// Migrates the schema, and checks that the keys that the database names are available.
async fn agree(
    pools: &Arc<Pools>,
    schema: &Schema,
    location: &Location,
    (source, found): (&KeySource, Found),
    intent: Intent,
) -> Result<Keys, OpenError> {
    let fail = |fault: Fault| failed(location, fault);
    if let KeySource::File(file) = source {
        sweep(folder_of(file));
    }
    let keys = source.read()?;
    if found.version > KNOWN {
        return Err(OpenError::TooNew {
            path: location.clone(),
            found: found.version,
            known: KNOWN,
        });
    }
    if found.version == 0 && may_make(location.clone(), source, keys.as_ref(), intent).is_err() {
        return Err(OpenError::NoTables {
            path: location.clone(),
            schema: schema.0.as_ref().into(),
            others: schemas(pools).await.map_err(fail)?,
        });
    }
    // A command of a newer version must not lock out the nodes, which may be of an older one.
    if (1..KNOWN).contains(&found.version) && matches!(intent, Intent::Read | Intent::Change) {
        return Err(OpenError::Older {
            path: location.clone(),
            found: found.version,
            known: KNOWN,
        });
    }
    hold(&found.keys, location, source, keys.as_ref())?;
    if found.version == KNOWN
        && !found.keys.is_empty()
        && let Some(keys) = keys
    {
        return Ok(keys);
    }
    let migration = Migration::run(pools, schema).await.map_err(fail)?;
    // Another process may have created it in the meantime.
    let named = migration.keys().await.map_err(fail)?;
    let keys = source.read()?;
    hold(&named, location, source, keys.as_ref())?;
    let keys = match (keys, source) {
        (Some(keys), _) => keys,
        (None, KeySource::File(file)) => {
            let keys = key_file::create(file)?;
            tracing::info!(path = %file.display(), %keys, "created an encryption key; back it up");
            keys
        }
        (None, source) => return Err(OpenError::NoCredential(source.clone())),
    };
    if named.is_empty()
        && let Some(first) = keys.ids().next()
    {
        migration.name_key(first).await.map_err(fail)?;
    }
    migration.commit().await.map_err(fail)?;
    Ok(keys)
}

pub(super) fn failed(location: &Location, fault: Fault) -> OpenError {
    let location = location.clone();
    match fault {
        Fault::Connection(text) => OpenError::Connect(location, text),
        Fault::Timeout => OpenError::Connect(location, "no answer in time".into()),
        other => OpenError::Server(location, StoreError::from(other).to_string().into()),
    }
}
