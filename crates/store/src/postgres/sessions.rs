//! Sessions.

use async_trait::async_trait;
use tokio_postgres::types::{ToSql, Type};

use super::fault::{Fault, no_change};

use super::query::Postgres;
use super::timeline::TIMELINE;
use super::transaction::Lock;
use crate::record::sql_time;
use crate::sessions::{COLUMNS, Row, ended};
use realmgate_core::{Session, SessionId, Sessions, StoreError, UnixTime, Version};

fn row(row: &tokio_postgres::Row) -> Result<Option<Session>, Fault> {
    let row = Row {
        id: row.try_get(0)?,
        kind: row.try_get(1)?,
        identity: row.try_get(2)?,
        name: row.try_get(3)?,
        realm: row.try_get(4)?,
        made: row.try_get(5)?,
        seen: row.try_get(6)?,
        source: row.try_get(7)?,
    };
    Ok(row.session())
}

#[async_trait]
impl Sessions for Postgres {
    async fn begin_session(&self, session: Session, version: Version) -> Result<bool, StoreError> {
        let work = async {
            let writing = self.begin(Lock::None).await?;
            // Locked first, as a change of the identity locks it, which waits and then deletes this
            // session.
            let sql = format!(
                "INSERT INTO @.session ({COLUMNS}) SELECT $1, $2, id, name, realm, $4, $5, $6 FROM @.identity
                    WHERE id = $3 AND revision = $7 AND state = 'enabled' FOR SHARE"
            );
            let id = session.id.0.as_slice();
            let kind = session.kind.as_str();
            let (made, seen) = (sql_time(session.made), sql_time(session.seen));
            let source = session.source.map(|it| it.to_string());
            let values: [(&(dyn ToSql + Sync), Type); 7] = [
                (&id, Type::BYTEA),
                (&kind, Type::TEXT),
                (&session.identity.0, Type::INT8),
                (&made, Type::INT8),
                (&seen, Type::INT8),
                (&source, Type::TEXT),
                (&version.0, Type::INT8),
            ];
            let added = writing.execute(&sql, &values).await?;
            let [seen, made, link_seen, link_made] = ended(session.made);
            let sql =
                "DELETE FROM @.session WHERE CASE kind WHEN 'session' THEN seen <= $1 OR made <= $2
                ELSE seen <= $3 OR made <= $4 END";
            let limits: [(&(dyn ToSql + Sync), Type); 4] = [
                (&seen, Type::INT8),
                (&made, Type::INT8),
                (&link_seen, Type::INT8),
                (&link_made, Type::INT8),
            ];
            writing.execute(sql, &limits).await?;
            // Whatever the clocks that made the others say, the new one stays.
            let sql = "DELETE FROM @.session WHERE id IN (SELECT id FROM @.session
                WHERE identity = $1 AND id <> $3 ORDER BY made DESC, seen DESC OFFSET $2)";
            let most = i64::from(Session::MOST) - 1;
            let values: [(&(dyn ToSql + Sync), Type); 3] = [
                (&session.identity.0, Type::INT8),
                (&most, Type::INT8),
                (&id, Type::BYTEA),
            ];
            writing.execute(sql, &values).await?;
            writing.commit().await?;
            Ok(added > 0)
        };
        self.written(work).await.map_err(no_change)
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, t.since, {TIMELINE} FROM @.session
                LEFT JOIN (SELECT id AS timeline, since FROM @.timeline) t ON t.timeline = {TIMELINE}
                WHERE id = $1"
        );
        let rows = self.read(&sql, &[(&id.0.as_slice(), Type::BYTEA)]).await?;
        let Some(found) = rows.first() else {
            return Ok(None);
        };
        let timeline: &str = found.try_get(9).map_err(Fault::from)?;
        let since = match found.try_get(8).map_err(Fault::from)? {
            Some(since) => since,
            None => self.begin_timeline(timeline).await?,
        };
        // Its end may have been lost in a failover.
        let session = row(found)?.filter(|it| sql_time(it.made) > since);
        Ok(session)
    }

    async fn see_session(&self, id: SessionId, now: UnixTime) -> Result<(), StoreError> {
        let work = async {
            let writing = self.begin(Lock::None).await?;
            let sql = "UPDATE @.session SET seen = greatest(seen, $2) WHERE id = $1";
            let (id, now) = (id.0.as_slice(), sql_time(now));
            let values: [(&(dyn ToSql + Sync), Type); 2] = [(&id, Type::BYTEA), (&now, Type::INT8)];
            writing.execute(sql, &values).await?;
            writing.commit().await
        };
        self.written(work).await.map_err(no_change)
    }

    async fn end_session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let work = async {
            let writing = self.begin(Lock::None).await?;
            let sql = format!("DELETE FROM @.session WHERE id = $1 RETURNING {COLUMNS}");
            let found = writing
                .first(&sql, &[(&id.0.as_slice(), Type::BYTEA)])
                .await?;
            let session = found.as_ref().map(row).transpose()?.flatten();
            writing.commit().await?;
            Ok(session)
        };
        self.written(work).await.map_err(no_change)
    }

    async fn sessions(&self, limit: u32) -> Result<Vec<Session>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM @.session WHERE kind = 'session' ORDER BY made DESC, id LIMIT $1"
        );
        let rows = self.read(&sql, &[(&i64::from(limit), Type::INT8)]).await?;
        let sessions = rows.iter().filter_map(|it| row(it).transpose());
        Ok(sessions.collect::<Result<_, Fault>>()?)
    }
}
