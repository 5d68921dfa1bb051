//! Names the session that holds the lock of changes.

use std::time::Duration;

use tokio::time::sleep;

use super::fault::Fault;
use super::pool::{Pools, Purpose};
use super::query::{Schema, query};

/// The time for which a session must hold the lock to be reported while nobody waits for it.
const LONG: Duration = Duration::from_secs(1);

/// Finds who holds the lock of `begin_change`. Everybody may see this much of other sessions.
const HOLDER: &str = "SELECT l.pid, a.usename::text, a.application_name
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 1919774055
        AND l.objid = '@.identity'::regclass::oid AND l.objsubid = 1
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND l.pid <> pg_backend_pid()
    ORDER BY a.backend_start LIMIT 1";

/// A session of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pid: i32,
    role: Option<String>,
    program: Option<String>,
}

impl Holder {
    /// Returns the session that holds the lock now.
    pub(super) async fn find(pools: &Pools, schema: &Schema) -> Result<Option<Self>, Fault> {
        let rows = query(pools, Purpose::Request, &schema.sql(HOLDER), &[]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Self {
            pid: row.try_get(0)?,
            role: row.try_get(1)?,
            program: row.try_get(2)?,
        }))
    }

    /// Returns the session that holds the lock for longer than a change does.
    pub(super) async fn find_lasting(
        pools: &Pools,
        schema: &Schema,
    ) -> Result<Option<Self>, Fault> {
        let first = Self::find(pools, schema).await?;
        if first.is_none() {
            return Ok(None);
        }
        sleep(LONG).await;
        let second = Self::find(pools, schema).await?;
        Ok(second.filter(|it| Some(it) == first.as_ref()))
    }

    /// Says who it is, and how to end it.
    pub(super) fn text(&self) -> String {
        let Self { pid, role, program } = self;
        let role = role.as_deref().unwrap_or_default();
        let program = program.as_deref().unwrap_or_default();
        format!(
            "process {pid} of the server, of role {role:?} (application {program:?}), holds the lock that changes of \
             identities and keys need; if it is not at work on them, end it as a superuser: SELECT pg_terminate_backend({pid})"
        )
    }
}
