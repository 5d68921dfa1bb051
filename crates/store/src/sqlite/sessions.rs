//! Sessions.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::counters::no_change;
use super::query::Sqlite;
use crate::record::sql_time;
use crate::sessions::{COLUMNS, Row, ended};
use realmgate_core::{Session, SessionId, Sessions, StoreError, UnixTime, Version};

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Session>> {
    let row = Row {
        id: row.get(0)?,
        kind: row.get(1)?,
        identity: row.get(2)?,
        name: row.get(3)?,
        realm: row.get(4)?,
        made: row.get(5)?,
        seen: row.get(6)?,
        source: row.get(7)?,
    };
    Ok(row.session())
}

#[async_trait]
impl Sessions for Sqlite {
    async fn begin_session(&self, session: Session, version: Version) -> Result<bool, StoreError> {
        let begun = self.write(move |transaction| {
            let [seen, made, link_seen, link_made] = ended(session.made);
            transaction
                .prepare_cached(
                    "DELETE FROM session WHERE CASE kind WHEN 'session' THEN seen <= ?1 OR made <= ?2
                        ELSE seen <= ?3 OR made <= ?4 END",
                )?
                .execute((seen, made, link_seen, link_made))?;
            let sql = format!(
                "INSERT INTO session ({COLUMNS}) SELECT ?1, ?2, id, name, realm, ?4, ?5, ?6 FROM identity
                    WHERE id = ?3 AND revision = ?7 AND state = 'enabled'"
            );
            let added = transaction.prepare_cached(&sql)?.execute(params![
                session.id.0,
                session.kind.as_str(),
                session.identity.0,
                sql_time(session.made),
                sql_time(session.seen),
                session.source.map(|it| it.to_string()),
                version.0,
            ])?;
            transaction
                .prepare_cached(
                    "DELETE FROM session WHERE id IN (SELECT id FROM session
                        WHERE identity = ?1 AND id <> ?3 ORDER BY made DESC, seen DESC LIMIT -1 OFFSET ?2)",
                )?
                // Whatever the clocks that made the others say, the new one stays.
                .execute((session.identity.0, Session::MOST - 1, session.id.0))?;
            Ok(added > 0)
        });
        begun.await.map_err(no_change)
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM session WHERE id = ?1");
        let found = self.read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_row((id.0,), row).optional()
        });
        Ok(found.await?.flatten())
    }

    async fn see_session(&self, id: SessionId, now: UnixTime) -> Result<(), StoreError> {
        let seen = self.write(move |transaction| {
            transaction
                .prepare_cached("UPDATE session SET seen = max(seen, ?2) WHERE id = ?1")?
                .execute((id.0, sql_time(now)))
        });
        seen.await.map(drop).map_err(no_change)
    }

    async fn end_session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let sql = format!("DELETE FROM session WHERE id = ?1 RETURNING {COLUMNS}");
        let ended = self.write(move |transaction| {
            let mut statement = transaction.prepare_cached(&sql)?;
            statement.query_row((id.0,), row).optional()
        });
        Ok(ended.await.map_err(no_change)?.flatten())
    }

    async fn sessions(&self, limit: u32) -> Result<Vec<Session>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM session WHERE kind = 'session' ORDER BY made DESC, id LIMIT ?1"
        );
        let found = self.read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map((limit,), row)?;
            rows.filter_map(Result::transpose).collect()
        });
        found.await
    }
}
