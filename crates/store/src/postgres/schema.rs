//! The schema: inspected before anything is written, and created or migrated by one process at a
//! time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::pool::{Lease, Pools, Purpose};
use super::query::{Schema, query};
use super::rows::key_id;
use super::transaction::DURABLE;
use crate::seal::KeyId;

/// The migrations, each from the schema before it.
const MIGRATIONS: [&str; 8] = [
    include_str!("schema/001_identity.sql"),
    include_str!("schema/002_claim.sql"),
    include_str!("schema/003_administration.sql"),
    include_str!("schema/004_sessions.sql"),
    include_str!("schema/005_lists.sql"),
    include_str!("schema/006_nodes.sql"),
    include_str!("schema/007_guard.sql"),
    include_str!("schema/008_revisions.sql"),
];

/// The number of the latest schema.
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// The maximum duration of a migration, including the wait for others. One that writes a row for each
/// of a million identities takes up to a minute.
const LONGEST: Duration = Duration::from_secs(600);

/// The lock of migrations. No table has the OID 0.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1919774055::bigint << 32)";

/// The contents of a schema.
#[derive(Debug)]
pub(super) struct Found {
    /// The schema version; 0 if none of our tables exist.
    pub(super) version: i64,
    /// The keys with which seeds are encrypted, or are about to be.
    pub(super) keys: Vec<KeyId>,
}

/// Properties of the server.
pub(super) struct About {
    pub(super) version: i32,
    pub(super) encoding: String,
    /// The first schema of the search path that exists.
    pub(super) schema: Option<String>,
}

pub(super) async fn about(pools: &Pools) -> Result<About, Fault> {
    let sql = "SELECT current_setting('server_version_num')::integer,
        current_setting('server_encoding'), current_schema()::text";
    let rows = query(pools, Purpose::Request, sql, &[]).await?;
    let row = rows.first().ok_or(Fault::Closed)?;
    Ok(About {
        version: row.try_get(0)?,
        encoding: row.try_get(1)?,
        schema: row.try_get(2)?,
    })
}

/// Inspects a schema. Returns `None` if tables of another program have our names.
pub(super) async fn look(pools: &Pools, schema: &Schema) -> Result<Option<Found>, Fault> {
    let sql = "SELECT to_regclass($1 || '.realmgate_schema') IS NOT NULL,
        to_regclass($1 || '.identity') IS NOT NULL";
    let name = &*schema.0;
    let rows = query(pools, Purpose::Request, sql, &[(&name, Type::TEXT)]).await?;
    let row = rows.first().ok_or(Fault::Closed)?;
    match (row.try_get(0)?, row.try_get(1)?) {
        (true, _) => {}
        (false, true) => return Ok(None),
        (false, false) => {
            return Ok(Some(Found {
                version: 0,
                keys: Vec::new(),
            }));
        }
    }
    let sql = schema.sql("SELECT max(version)::bigint FROM @.realmgate_schema");
    let rows = query(pools, Purpose::Request, &sql, &[]).await?;
    let version: Option<i64> = rows.first().ok_or(Fault::Closed)?.try_get(0)?;
    let version = version.unwrap_or(0);
    // An announced key has not encrypted anything yet.
    let sql = schema.sql("SELECT id FROM @.sealing_key WHERE state <> 'announced' ORDER BY id");
    let keys = match version {
        1..=KNOWN => {
            let rows = query(pools, Purpose::Request, &sql, &[]).await?;
            let id = |row: &tokio_postgres::Row| key_id(row.try_get(0)?);
            rows.iter().map(id).collect::<Result<_, _>>()?
        }
        _ => Vec::new(),
    };
    Ok(Some(Found { version, keys }))
}

/// Returns up to 5 schemas that have tables of realmgate.
pub(super) async fn schemas(pools: &Pools) -> Result<Vec<String>, Fault> {
    let sql = "SELECT n.nspname::text FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE t.relname = 'realmgate_schema' AND t.relkind = 'r' ORDER BY 1 LIMIT 5";
    let rows = query(pools, Purpose::Request, sql, &[]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// A transaction in which only this process migrates, and the first key is chosen.
pub(super) struct Migration {
    lease: Lease,
    schema: Schema,
}

impl Migration {
    /// Waits for other processes, then migrates the schema.
    pub(super) async fn run(pools: &Arc<Pools>, schema: &Schema) -> Result<Self, Fault> {
        let lease = pools.lease(Purpose::Request).await?;
        let this = Self {
            lease,
            schema: schema.clone(),
        };
        let limit = LONGEST.as_millis();
        this.batch(&format!(
            "BEGIN; SET LOCAL statement_timeout = {limit}; SET LOCAL lock_timeout = {limit};
             SET LOCAL client_min_messages = warning; {LOCK}; SELECT {DURABLE}"
        ))
        .await?;
        let name = &*this.schema.0;
        let sql = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
        if this.rows(sql, &[(&name, Type::TEXT)]).await?.is_empty() {
            this.batch("CREATE SCHEMA @").await?;
        }
        let sql = "SELECT to_regclass($1 || '.realmgate_schema') IS NOT NULL";
        let rows = this.rows(sql, &[(&name, Type::TEXT)]).await?;
        let mut version = 0;
        if rows.first().ok_or(Fault::Closed)?.try_get(0)? {
            let sql = "SELECT max(version)::bigint FROM @.realmgate_schema";
            let rows = this.rows(sql, &[]).await?;
            let found: Option<i64> = rows.first().ok_or(Fault::Closed)?.try_get(0)?;
            version = found.unwrap_or(0);
        }
        if version > KNOWN {
            return Err(Fault::text(format!(
                "it has schema {version}, this version knows up to {KNOWN}"
            )));
        }
        for (at, migration) in (1..).zip(MIGRATIONS) {
            if at > version {
                this.batch(migration).await?;
                let sql = format!(
                    "DELETE FROM @.realmgate_schema; INSERT INTO @.realmgate_schema VALUES ({at})"
                );
                this.batch(&sql).await?;
            }
        }
        Ok(this)
    }

    /// Returns the keys that the database names.
    pub(super) async fn keys(&self) -> Result<Vec<KeyId>, Fault> {
        let sql = "SELECT id FROM @.sealing_key WHERE state <> 'announced' ORDER BY id";
        let rows = self.rows(sql, &[]).await?;
        rows.iter().map(|row| key_id(row.try_get(0)?)).collect()
    }

    /// Records the first key.
    pub(super) async fn name_key(&self, key: KeyId) -> Result<(), Fault> {
        let sql = "INSERT INTO @.sealing_key (id) VALUES ($1)";
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&key.0.as_slice(), Type::BYTEA)];
        self.rows(sql, &parameters).await.map(drop)
    }

    pub(super) async fn commit(self) -> Result<(), Fault> {
        self.batch("COMMIT").await?;
        self.lease.put_back();
        Ok(())
    }

    async fn batch(&self, sql: &str) -> Result<(), Fault> {
        let sql = self.schema.sql(sql);
        let work = async { Ok(self.lease.client()?.batch_execute(&sql).await?) };
        timeout(LONGEST, work).await.map_err(|_| Fault::Timeout)?
    }

    async fn rows(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<tokio_postgres::Row>, Fault> {
        let sql = self.schema.sql(sql);
        let work = async { Ok(self.lease.client()?.query_typed(&sql, parameters).await?) };
        timeout(LONGEST, work).await.map_err(|_| Fault::Timeout)?
    }
}
