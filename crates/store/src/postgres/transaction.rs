//! Write transactions, whose outcome is known where possible.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::Fault;
use super::holder::Holder;
use super::pool::{Lease, Pools, Purpose};
use super::query::{Parameters, Postgres, Schema, query};
use super::timeline::{TIMELINE, Timeline};

/// The interval between queries for the outcome of a commit, and the maximum time to repeat them.
const ASK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// What a transaction locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// Nothing.
    None,
    /// All changes of identities and keys, so that they happen in the order of the change log.
    Identities,
}

/// A transaction. Dropping it before [`Writing::commit`] rolls it back.
pub(super) struct Writing {
    lease: Lease,
    pools: Arc<Pools>,
    schema: Schema,
    /// The transaction ID, and the timeline on which it is valid.
    id: String,
    timeline: String,
}

impl Postgres {
    pub(super) async fn begin(&self, lock: Lock) -> Result<Writing, Fault> {
        begin(&self.pools, &self.schema, lock).await
    }
}

/// Begins a transaction, on another connection if the first one is dead.
pub(super) async fn begin(
    pools: &Arc<Pools>,
    schema: &Schema,
    lock: Lock,
) -> Result<Writing, Fault> {
    let lease = pools.lease(Purpose::Request).await?;
    let generation = lease.generation();
    match begin_on(lease, pools, schema, lock).await {
        Err(fault) if fault.is_of_connection() => {
            pools.renew(generation, &fault);
            let lease = pools.lease(Purpose::Request).await?;
            begin_on(lease, pools, schema, lock).await
        }
        // Most likely another session has held the lock all the time.
        Err(Fault::Timeout) if lock == Lock::Identities => Err(held(pools, schema).await),
        other => other,
    }
}

/// Returns why a transaction has waited for the lock of changes until its timeout.
async fn held(pools: &Pools, schema: &Schema) -> Fault {
    match Holder::find(pools, schema).await {
        Ok(Some(holder)) => Fault::text(holder.text()),
        Ok(None) | Err(_) => Fault::Timeout,
    }
}

async fn begin_on(
    lease: Lease,
    pools: &Arc<Pools>,
    schema: &Schema,
    lock: Lock,
) -> Result<Writing, Fault> {
    let limit = pools.timeout();
    let millis = limit.as_millis();
    // A confirmed commit is on the disk of the server, whatever its default. If this process dies, the server must
    // not hold its locks for long.
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;
         SET LOCAL statement_timeout = {millis}; SET LOCAL lock_timeout = {millis};
         SET LOCAL idle_in_transaction_session_timeout = {}",
        millis * 2
    );
    let lock = match lock {
        Lock::None => "NULL",
        Lock::Identities => "@.begin_change()::text",
    };
    let first = format!("SELECT {lock}, {DURABLE}, pg_current_xact_id()::text, {TIMELINE}");
    let first = schema.sql(&first);
    let work = async {
        let client = lease.client()?;
        client.batch_execute(&sql).await?;
        let row = client.query_typed_one(&first, &[]).await?;
        Ok::<_, Fault>((row.try_get(2)?, row.try_get(3)?))
    };
    // The lock timeout of the server fires first and gives the better error.
    let (id, timeline): (String, String) = timeout(limit + limit / 8, work)
        .await
        .map_err(|_| Fault::Timeout)??;
    pools.connector().see(&timeline)?;
    Ok(Writing {
        lease,
        pools: Arc::clone(pools),
        schema: schema.clone(),
        id,
        timeline,
    })
}

/// Makes the commit wait for the disk, unless the server is configured to wait for more.
pub(super) const DURABLE: &str =
    "CASE WHEN current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')
    THEN set_config('synchronous_commit', 'on', true) END";

impl Writing {
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Fault> {
        let sql = self.schema.sql(sql);
        let work = async { Ok(self.lease.client()?.query_typed(&sql, parameters).await?) };
        let limit = self.pools.timeout() * 2;
        timeout(limit, work).await.map_err(|_| Fault::Timeout)?
    }

    /// Returns the first row, or `None`.
    pub(super) async fn first(
        &self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Option<Row>, Fault> {
        Ok(self.query(sql, parameters).await?.into_iter().next())
    }

    /// Returns the number of rows written.
    pub(super) async fn execute(
        &self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<u64, Fault> {
        let sql = self.schema.sql(sql);
        let work = async { Ok(self.lease.client()?.execute_typed(&sql, parameters).await?) };
        let limit = self.pools.timeout() * 2;
        timeout(limit, work).await.map_err(|_| Fault::Timeout)?
    }

    /// Commits. If the connection is lost at this moment, queries the outcome from the server.
    ///
    /// # Errors
    /// [`Fault::Unknown`] if the server cannot tell; otherwise the transaction had no effect.
    pub(super) async fn commit(self) -> Result<(), Fault> {
        let limit = self.pools.timeout() * 2;
        let timelines = self.pools.connector().timelines();
        let timeline = Timeline::parse(&self.timeline)?;
        if timelines.is_old(timeline) {
            let text = "another server has become the primary";
            return Err(Fault::Connection(text.into()));
        }
        let work = async { Ok::<_, Fault>(self.lease.client()?.batch_execute("COMMIT").await?) };
        let fault = match timeout(limit, work).await {
            Ok(Ok(())) => {
                self.lease.put_back();
                // Committed on the old primary; the new one may lack it.
                let is_old = self.pools.connector().timelines().is_old(timeline);
                return if is_old { Err(Fault::Unknown) } else { Ok(()) };
            }
            // Rejected, for example by a constraint: it is rolled back.
            Ok(Err(fault)) if !fault.is_of_connection() => return Err(fault),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::Timeout,
        };
        if fault.is_of_connection() {
            self.pools.renew(self.lease.generation(), &fault);
        }
        let Self {
            lease,
            pools,
            id,
            timeline,
            ..
        } = self;
        drop(lease);
        resolve(&pools, &id, &timeline).await.unwrap_or(Err(fault))
    }
}

/// Queries the outcome of a transaction. Returns `None` if it was rolled back.
async fn resolve(pools: &Pools, id: &str, timeline: &str) -> Option<Result<(), Fault>> {
    tracing::warn!("a commit was not confirmed: asking the database whether it was done");
    let began = Instant::now();
    let sql = format!("SELECT pg_xact_status($1::text::xid8), {TIMELINE}");
    while began.elapsed() < ASK.1 {
        sleep(ASK.0).await;
        let rows = query(pools, Purpose::Request, &sql, &[(&id, Type::TEXT)]).await;
        let Some(row) = rows.ok().and_then(|rows| rows.into_iter().next()) else {
            continue;
        };
        let (Ok(status), Ok(now)) = (row.try_get::<_, Option<&str>>(0), row.try_get::<_, &str>(1))
        else {
            continue;
        };
        if now != timeline {
            // Another transaction may have this ID there.
            break;
        }
        match status {
            Some("committed") => return Some(Ok(())),
            Some("aborted") => return None,
            _ => {}
        }
    }
    Some(Err(Fault::Unknown))
}
