//! Describes a server and a database on it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::Fault;
use super::holder::Holder;
use super::open::{Prepared, failed, prepare};
use super::pool::{Pools, Purpose};
use super::query::{Schema, query};
use super::schema::{KNOWN, schemas};
use super::server::Server;
use crate::inspection::{Inspection, ServerState};
use crate::open_error::OpenError;

/// A standby that is asynchronous and idle has no lag.
const STATE: &str = "SELECT current_setting('server_version'),
    coalesce(host(inet_server_addr()) || ':' || inet_server_port(), 'a Unix socket'),
    current_user::text,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
    (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl),
    (SELECT count(*) FROM pg_stat_replication),
    (SELECT extract(epoch FROM max(coalesce(replay_lag, '0')))::float8 FROM pg_stat_replication
        WHERE state IS NOT NULL),
    current_setting('synchronous_standby_names')";

/// The privileges that are missing. One of `CREATE` matters only until the tables exist.
const LACKS: &str = "SELECT p.privilege || ' on ' || t.relname FROM pg_class t
    JOIN pg_namespace n ON n.oid = t.relnamespace
    CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS p(privilege)
    WHERE n.nspname = $1 AND t.relkind = 'r'
        AND t.relname IN ('identity', 'identity_use', 'spent', 'change', 'sealing_key',
            'key_missing', 'failure', 'failure_stamp', 'claim', 'creation', 'session', 'realm_count',
            'seed_count', 'node')
        AND NOT has_table_privilege(t.oid, p.privilege)
    UNION ALL SELECT 'CREATE on database ' || current_database()
        WHERE NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)
            AND NOT has_database_privilege(current_database(), 'CREATE')
    UNION ALL SELECT 'CREATE on schema ' || n.nspname FROM pg_namespace n
        WHERE n.nspname = $1 AND NOT has_schema_privilege(n.oid, 'CREATE')
            AND NOT EXISTS (SELECT 1 FROM pg_class t WHERE t.relnamespace = n.oid
                AND t.relname = 'realmgate_schema')
    ORDER BY 1";

/// Connects to a server and describes it. Changes nothing.
pub(crate) async fn inspect(server: &Server, timeout: Duration) -> Result<Inspection, OpenError> {
    let location = server.location();
    let Prepared {
        pools,
        schema,
        found,
    } = prepare(server.clone(), timeout).await?;
    let mut state = state(&pools, &schema, server.tls.as_str()).await;
    if let Ok(state) = &mut state
        && found.version == KNOWN
    {
        state.nodes = nodes(&pools, &schema).await.ok();
        let holder = Holder::find_lasting(&pools, &schema).await;
        state.lock_holder = holder.ok().flatten().map(|it| it.text());
    }
    let elsewhere = match found.version {
        0 => schemas(&pools).await,
        _ => Ok(Vec::new()),
    };
    Ok(Inspection {
        schema: found.version,
        elsewhere: elsewhere.map_err(|fault| failed(&location, fault))?,
        known: KNOWN,
        keys: found.keys,
        server: Some(state.map_err(|fault| failed(&location, fault))?),
    })
}

async fn state(
    pools: &Pools,
    schema: &Schema,
    tls_mode: &'static str,
) -> Result<ServerState, Fault> {
    let rows = query(pools, Purpose::Request, STATE, &[]).await?;
    let row = rows.first().ok_or(Fault::Closed)?;
    let name = &*schema.0;
    let lacks = query(pools, Purpose::Request, LACKS, &[(&name, Type::TEXT)]).await?;
    let lacks = lacks.iter().map(|row| Ok(row.try_get(0)?));
    let (round_trip, clock) = clock(pools).await?;
    Ok(ServerState {
        version: row.try_get(0)?,
        address: row.try_get(1)?,
        role: row.try_get(2)?,
        is_superuser: row.try_get::<_, Option<bool>>(3)?.unwrap_or(false),
        schema: name.to_owned(),
        lacks: lacks.collect::<Result<_, Fault>>()?,
        tls_mode,
        tls: row.try_get(4)?,
        round_trip,
        clock,
        standbys: row.try_get::<_, i64>(5)?.unsigned_abs(),
        lag: lag(row)?,
        synchronous: row.try_get(7)?,
        nodes: None,
        lock_holder: None,
        other_writable: pools.metrics().other_writable,
    })
}

/// Counts the nodes that have recorded themselves in the last minute.
async fn nodes(pools: &Pools, schema: &Schema) -> Result<u64, Fault> {
    let sql = "SELECT count(*) FROM @.node
        WHERE seen > (extract(epoch FROM clock_timestamp()) - 60) * 1000";
    let rows = query(pools, Purpose::Request, &schema.sql(sql), &[]).await?;
    let count: i64 = rows.first().ok_or(Fault::Closed)?.try_get(0)?;
    Ok(count.unsigned_abs())
}

fn lag(row: &Row) -> Result<Option<Duration>, Fault> {
    let secs: Option<f64> = row.try_get(6)?;
    Ok(secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()))
}

/// Returns the time of a round trip, and the clock of the server minus the one of this machine.
async fn clock(pools: &Pools) -> Result<(Duration, f64), Fault> {
    let sql = "SELECT extract(epoch FROM clock_timestamp())::float8";
    let (asked, began) = (SystemTime::now(), Instant::now());
    let rows = query(pools, Purpose::Request, sql, &[]).await?;
    let round_trip = began.elapsed();
    let theirs: f64 = rows.first().ok_or(Fault::Closed)?.try_get(0)?;
    let ours = asked.duration_since(UNIX_EPOCH).unwrap_or_default() + round_trip / 2;
    Ok((round_trip, theirs - ours.as_secs_f64()))
}
