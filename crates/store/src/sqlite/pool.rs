//! Connection pools for an SQLite file. All connections have the same settings.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{self, Hook, HookError, Manager, Metrics, RecycleResult, Timeouts};
use deadpool_sqlite::{Config, Runtime};
use rusqlite::Connection;

use super::watch::Watch;
use crate::access::Way;
use realmgate_core::StoreError;

/// The access of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Opens connections and takes them back.
pub(super) struct Connections(deadpool_sqlite::Manager);

pub(super) type Pool = managed::Pool<Connections>;
pub(super) type Object = managed::Object<Connections>;
pub(super) type PoolError = managed::PoolError<rusqlite::Error>;

impl Manager for Connections {
    type Type = <deadpool_sqlite::Manager as Manager>::Type;
    type Error = rusqlite::Error;

    async fn create(&self) -> Result<Self::Type, Self::Error> {
        self.0.create().await
    }

    /// Takes back a connection at once if nothing runs on it. The library would run a query first,
    /// on another thread, which takes as long as to read an identity. It does so if an operation has
    /// timed out or panicked.
    async fn recycle(
        &self,
        connection: &mut Self::Type,
        metrics: &Metrics,
    ) -> RecycleResult<Self::Error> {
        if connection.try_lock().is_ok() {
            return Ok(());
        }
        self.0.recycle(connection, metrics).await
    }
}

pub(super) fn pool(
    path: &Path,
    size: usize,
    timeout: Duration,
    (way, access): (Way, Access),
    watch: Arc<Watch>,
) -> Result<Pool, StoreError> {
    let config = Config::new(way.uri(path));
    let connections = Connections(deadpool_sqlite::Manager::from_config(
        &config,
        Runtime::Tokio1,
    ));
    let set_up = Hook::<Connections>::async_fn(move |connection, _| {
        // It may have opened a file that has replaced the database.
        let same = watch.look();
        Box::pin(async move {
            same.map_err(|error| HookError::message(error.to_string()))?;
            connection
                .interact(move |connection| set_up(connection, timeout, access))
                .await
                .map_err(|error| HookError::message(error.to_string()))?
                .map_err(HookError::Backend)
        })
    });
    Pool::builder(connections)
        .max_size(size)
        .timeouts(Timeouts {
            wait: Some(timeout),
            create: Some(timeout),
            recycle: Some(timeout),
        })
        .runtime(Runtime::Tokio1)
        .post_create(set_up)
        .build()
        .map_err(|error| database(&error))
}

fn set_up(connection: &Connection, timeout: Duration, access: Access) -> rusqlite::Result<()> {
    configure(connection, timeout)?;
    if access == Access::Read {
        connection.pragma_update(None, "query_only", true)?;
    }
    Ok(())
}

/// Applies the settings of every connection.
pub(super) fn configure(connection: &Connection, timeout: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(timeout)?;
    connection.set_prepared_statement_cache_capacity(32);
    // The maximum size to which a log that had grown is truncated when it is reset.
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    // FULL syncs the log at each commit, so that a confirmed change survives a power failure.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

pub(super) async fn interact<T, F>(
    connection: &Object,
    timeout: Duration,
    work: F,
) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
{
    // Twice, so that SQLite's own lock timeout ends first and names the lock.
    match tokio::time::timeout(timeout * 2, connection.interact(work)).await {
        Err(_) => Err(StoreError::Timeout),
        Ok(Err(_)) => Err(StoreError::Closed),
        Ok(Ok(outcome)) => outcome.map_err(|error| database(&error)),
    }
}

pub(super) fn pool_error(error: PoolError) -> StoreError {
    match error {
        PoolError::Timeout(_) => StoreError::Timeout,
        PoolError::Closed => StoreError::Closed,
        other => database(&other),
    }
}

pub(super) fn database(error: &dyn std::error::Error) -> StoreError {
    StoreError::Database(error.to_string().into())
}
