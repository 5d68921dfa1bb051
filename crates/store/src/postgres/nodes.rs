//! The nodes that serve on the database.

use std::time::Duration;

use realmgate_core::{MOST_NODES, Node, NodeId, SeenNode, SeenNodes, StoreError};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::log::LAST;
use super::pool::Purpose;
use super::query::{Parameters, Postgres, query_once};
use crate::database::Seq;
use crate::record::{RecordError, sql_time, unix_time};

/// The time after which the row of a node that has died is deleted, in milliseconds.
const KEPT: i64 = 24 * 60 * 60 * 1000;

/// The same once another process records itself under its name: it has been started again.
const REPLACED: i64 = 60 * 1000;

/// The maximum number of rows.
const ROWS: i64 = 1000;

/// The clock of the server, in milliseconds.
pub(super) const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

impl Postgres {
    /// Records a node, and deletes the rows of those that have died long ago. Waits neither for
    /// the disk nor for standbys.
    pub(super) async fn save_node(&self, node: &Node, position: Seq) -> Result<(), StoreError> {
        let sql = format!(
            "WITH here AS (SELECT set_config('synchronous_commit', 'off', true), {NOW} AS now),
                gone AS (DELETE FROM @.node n USING here WHERE n.id <> $1
                    AND (abs(here.now - n.seen) > {KEPT}
                        OR (n.name = $2 AND here.now - n.seen > {REPLACED})
                        OR n.id IN (SELECT id FROM @.node
                            ORDER BY abs(seen - (SELECT now FROM here)) OFFSET {ROWS})))
            INSERT INTO @.node (id, name, version, config, started, loaded, position, behind, seen)
                SELECT $1, $2, $3, $4, $5, $6, $7, greatest({LAST} - $7, 0), now FROM here
                ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version,
                    config = excluded.config, started = excluded.started, loaded = excluded.loaded,
                    position = excluded.position, behind = excluded.behind, seen = excluded.seen"
        );
        let id = node.id.0.as_slice();
        let (started, loaded) = (sql_time(node.started), sql_time(node.loaded));
        let (name, version, config) = (&*node.name, &*node.version, &*node.config);
        let values: [(&(dyn ToSql + Sync), Type); 7] = [
            (&id, Type::BYTEA),
            (&name, Type::TEXT),
            (&version, Type::TEXT),
            (&config, Type::TEXT),
            (&started, Type::INT8),
            (&loaded, Type::INT8),
            (&position.0, Type::INT8),
        ];
        self.note(&sql, &values).await
    }

    /// Deletes the row of a node.
    pub(super) async fn remove_node(&self, id: NodeId) -> Result<(), StoreError> {
        let sql = "DELETE FROM @.node WHERE id = $1";
        self.note(sql, &[(&id.0.as_slice(), Type::BYTEA)]).await
    }

    /// Runs a statement that is neither counted nor repeated, and whose failure says nothing about
    /// other writes.
    async fn note(&self, sql: &str, values: Parameters<'_>) -> Result<(), StoreError> {
        let sql = self.schema.sql(sql);
        let done = query_once(&self.pools, Purpose::Request, &sql, values).await;
        done.map(drop).map_err(|(_, fault)| fault.into())
    }

    /// Reads the nodes that were seen last.
    pub(super) async fn read_nodes(&self) -> Result<SeenNodes, StoreError> {
        let sql = format!(
            "SELECT id, name, version, config, started, loaded, position, behind, {NOW} - seen,
                count(*) OVER () FROM @.node ORDER BY seen DESC LIMIT {MOST_NODES}"
        );
        let rows = self.read(&sql, &[]).await?;
        let nodes: Result<_, Fault> = rows.iter().map(seen_node).collect();
        let total: Option<i64> = match rows.first() {
            Some(row) => row.try_get(9).map_err(Fault::from)?,
            None => None,
        };
        Ok(SeenNodes {
            nodes: nodes?,
            total: total.unwrap_or_default().unsigned_abs(),
        })
    }
}

fn seen_node(row: &Row) -> Result<SeenNode, Fault> {
    let id: &[u8] = row.try_get(0)?;
    let text = |at| Ok::<_, Fault>(row.try_get::<_, &str>(at)?.into());
    let number = |at| Ok::<i64, Fault>(row.try_get(at)?);
    let positive = |at| Ok::<_, Fault>(u64::try_from(number(at)?).unwrap_or(0));
    Ok(SeenNode {
        node: Node {
            id: NodeId(id.try_into().map_err(|_| RecordError::Number)?),
            name: text(1)?,
            version: text(2)?,
            config: text(3)?,
            started: unix_time(number(4)?),
            loaded: unix_time(number(5)?),
        },
        position: number(6)?,
        behind: positive(7)?,
        age: Duration::from_millis(positive(8)?),
    })
}
