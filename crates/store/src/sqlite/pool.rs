//! Connection pools for an SQLite file. All connections have the same settings.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool_sqlite::{
    Config, Hook, HookError, Object, Pool, PoolConfig, PoolError, Runtime, Timeouts,
};
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

pub(super) fn pool(
    path: &Path,
    size: usize,
    timeout: Duration,
    (way, access): (Way, Access),
    watch: Arc<Watch>,
) -> Result<Pool, StoreError> {
    let mut config = Config::new(way.uri(path));
    config.pool = Some(PoolConfig {
        max_size: size,
        timeouts: Timeouts {
            wait: Some(timeout),
            create: Some(timeout),
            recycle: Some(timeout),
        },
        ..PoolConfig::default()
    });
    let set_up = Hook::async_fn(move |connection, _| {
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
    config
        .builder(Runtime::Tokio1)
        .map_err(|error| database(&error))?
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
