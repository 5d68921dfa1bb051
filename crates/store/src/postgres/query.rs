//! The database, and single statements that read.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::clock::ServerClock;
use super::fault::Fault;
use super::pool::{Pools, Purpose};
use crate::key_ring::KeyRing;
use crate::metrics::{DatabaseCounts, Operation};
use realmgate_core::{ChangeError, StoreError};

/// The values and types of the parameters of a statement. With the types given, a statement takes
/// one round trip.
pub(super) type Parameters<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// The database, open and migrated.
pub(crate) struct Postgres {
    pub(super) pools: Arc<Pools>,
    /// The schema of the tables.
    pub(super) schema: Schema,
    pub(super) ring: Arc<KeyRing>,
    pub(super) counts: DatabaseCounts,
    /// Whether the last write has failed.
    pub(super) writes_fail: AtomicBool,
    /// Bounds the attempts that wait for a claim.
    pub(super) claiming: Semaphore,
    /// The claims that this node got, and those that it did not get.
    pub(super) claims: [AtomicU64; 2],
    pub(super) clock: ServerClock,
}

/// The schema of the tables.
#[derive(Clone, Debug)]
pub(super) struct Schema(pub(super) Arc<str>);

impl Schema {
    /// Replaces each `@` by the name of the schema.
    ///
    /// Statements name the schema of each table, because the search path is session state.
    pub(super) fn sql<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        sql.replace('@', &self.0).into()
    }
}

impl Postgres {
    /// Runs a statement that reads. Retries once if the connection turns out to be dead, within the
    /// time for one statement.
    pub(super) async fn read(
        &self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let sql = self.schema.sql(sql);
        let reading = query(&self.pools, Purpose::Request, &sql, parameters);
        let limit = self.pools.timeout();
        let work = async { timeout(limit, reading).await.map_err(|_| Fault::Timeout)? };
        let counts = &self.counts;
        let rows = counts.timed(Operation::Read, work, |_| true).await;
        Ok(rows?)
    }

    /// Counts a write, and records whether it failed.
    pub(super) async fn written<T>(
        &self,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, ChangeError> {
        let is_failure = |fault: &Fault| !matches!(fault, Fault::Taken | Fault::Stale);
        let counts = &self.counts;
        let outcome = counts.timed(Operation::Write, work, is_failure).await;
        let has_failed = outcome.as_ref().is_err_and(is_failure);
        let order = std::sync::atomic::Ordering::Relaxed;
        self.writes_fail.store(has_failed, order);
        Ok(outcome?)
    }
}

/// Runs a statement on a pooled connection, and once more on another one if the first is dead.
pub(super) async fn query(
    pools: &Pools,
    purpose: Purpose,
    sql: &str,
    parameters: Parameters<'_>,
) -> Result<Vec<Row>, Fault> {
    match query_once(pools, purpose, sql, parameters).await {
        Err((Some(generation), fault)) if fault.is_of_connection() => {
            pools.renew(generation, &fault);
            let again = query_once(pools, purpose, sql, parameters).await;
            again.map_err(|(_, fault)| fault)
        }
        other => other.map_err(|(_, fault)| fault),
    }
}

/// Runs a statement on a pooled connection. An error comes with the generation of the connection.
pub(super) async fn query_once(
    pools: &Pools,
    purpose: Purpose,
    sql: &str,
    parameters: Parameters<'_>,
) -> Result<Vec<Row>, (Option<u64>, Fault)> {
    let lease = pools.lease(purpose).await.map_err(|fault| (None, fault))?;
    let generation = Some(lease.generation());
    let work = async { Ok(lease.client()?.query_typed(sql, parameters).await?) };
    match timeout(pools.timeout(), work).await {
        Ok(Ok(rows)) => {
            lease.put_back();
            Ok(rows)
        }
        Ok(Err(fault)) => Err((generation, fault)),
        Err(_) => Err((generation, Fault::Timeout)),
    }
}
