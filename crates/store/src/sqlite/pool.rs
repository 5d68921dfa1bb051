//! Connections to one SQLite file, set up alike, used off the async threads.

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

/// What a connection may do.
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
        // It may have opened another file than the connections before it.
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

/// Sets what holds for every connection.
pub(super) fn configure(connection: &Connection, timeout: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(timeout)?;
    connection.set_prepared_statement_cache_capacity(32);
    // What is left of a log that had to grow, once it begins anew.
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    // FULL syncs the log at each commit: what was answered with a 2xx survives a power cut.
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
    // Twice: SQLite's own wait for a lock ends first, and says what it waited for.
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
