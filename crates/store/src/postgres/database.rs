//! PostgreSQL as the database under the cache.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use realmgate_core::{Node, NodeId, Principal, SeenNodes, StoreError};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::fault::{Fault, no_change};
use super::log::LAST;
use super::query::Postgres;
use super::rows::{TABLES, entry, key_id};
use super::tail::PostgresTail;
use super::transaction::Lock;
use crate::database::{Changes, Database, Loaded, Seq, Tail};
use crate::listing::Entry;
use crate::metrics::{DatabaseCounts, PoolMetrics};
use crate::record::COLUMNS;
use crate::record::principal;
use crate::seal::KeyId;

#[async_trait]
impl Database for Postgres {
    fn metrics(&self) -> &DatabaseCounts {
        &self.counts
    }

    fn pool(&self) -> Option<PoolMetrics> {
        let [claims, claims_denied] = &self.claims;
        Some(PoolMetrics {
            claims: claims.load(Ordering::Relaxed),
            claims_denied: claims_denied.load(Ordering::Relaxed),
            clock_offset: self.clock.ahead_of_node(),
            ..self.pools.metrics()
        })
    }

    async fn follow(&self) -> Result<(Box<dyn Tail>, Seq), StoreError> {
        let mut tail = PostgresTail::new(
            Arc::clone(&self.pools),
            self.schema.clone(),
            Arc::clone(&self.ring),
        );
        let seen = tail.begin().await?;
        Ok((Box::new(tail), seen))
    }

    async fn load(&self, who: &Principal) -> Result<Loaded, StoreError> {
        // One statement, so that the row and the position are of the same moment. A standby would
        // lag behind.
        let sql = format!(
            "SELECT {COLUMNS}, {LAST}, pg_is_in_recovery() FROM (SELECT 1) one
                LEFT JOIN ({TABLES}) ON i.realm = $1 AND i.name = $2"
        );
        let (realm, name) = (who.realm(), who.name());
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&realm, Type::TEXT), (&name, Type::TEXT)];
        let rows = self.read(&sql, &parameters).await?;
        let read = || {
            let row = rows.first().ok_or(Fault::Closed)?;
            if row.try_get(23)? {
                return Err(Fault::Connection("the server is a standby".into()));
            }
            let is_there = row.try_get::<_, Option<i64>>(0)?.is_some();
            let found = is_there.then(|| entry(row, &self.ring)).transpose()?;
            let as_of = Seq(row.try_get(22)?);
            Ok((found, as_of))
        };
        let (found, as_of): (Option<Entry>, Seq) = read()?;
        let identity = found.transpose().map_err(StoreError::Row)?;
        Ok(Loaded { identity, as_of })
    }

    async fn changes(&self, after: Seq, limit: u32) -> Result<Changes, StoreError> {
        // One statement, so that the entries and the ends of the log are of the same moment.
        let sql = format!(
            "SELECT {LAST}, (SELECT min(seq) FROM @.change), c.name, c.realm, c.seq FROM (SELECT 1) one
                LEFT JOIN (SELECT * FROM @.change WHERE seq > $1 ORDER BY seq LIMIT $2) c ON true
                ORDER BY c.seq"
        );
        let count = i64::from(limit);
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&after.0, Type::INT8), (&count, Type::INT8)];
        let rows = self.read(&sql, &parameters).await?;
        let read = || {
            let row = rows.first().ok_or(Fault::Closed)?;
            let (last, first) = (Seq(row.try_get(0)?), row.try_get::<_, Option<i64>>(1)?);
            if last == after {
                return Ok(Changes::None);
            }
            if last < after || first.is_none_or(|first| first > after.0 + 1) {
                return Ok(Changes::Unknown(last));
            }
            let mut changed = Vec::with_capacity(rows.len());
            let mut reached = None;
            for row in &rows {
                let seq = Seq(row.try_get(4)?);
                reached = Some(seq);
                // A name that is not valid, written with psql, is not an identity.
                if let Ok(who) = principal(row.try_get(2)?, row.try_get(3)?) {
                    changed.push((who, seq));
                }
            }
            let is_part = rows.len() == limit as usize;
            Ok::<_, Fault>(Changes::Some(
                changed,
                reached.filter(|_| is_part).unwrap_or(last),
            ))
        };
        Ok(read()?)
    }

    /// Objects to keys that this process does not have, so that a rotation does not switch to them.
    async fn object(&self, missing: Vec<KeyId>) {
        if missing.is_empty() {
            return;
        }
        match self.written(self.try_to_object(&missing)).await {
            Ok(new) => {
                for key in new {
                    tracing::error!(%key, key_source = %self.ring.source(), "key rotation needs a key that is missing here");
                }
            }
            Err(error) => {
                let error = no_change(error);
                tracing::error!(%error, "cannot record that a key is missing");
            }
        }
    }

    fn key_gains(&self) -> u64 {
        self.ring.gains()
    }

    async fn record_node(&self, node: &Node, position: Seq) -> Result<(), StoreError> {
        self.save_node(node, position).await
    }

    async fn delete_node(&self, id: NodeId) -> Result<(), StoreError> {
        self.remove_node(id).await
    }

    async fn nodes(&self) -> Result<SeenNodes, StoreError> {
        self.read_nodes().await
    }

    /// Nothing to do: the server keeps what it has confirmed.
    async fn checkpoint(&self) {}

    async fn ping(&self) -> Result<(), StoreError> {
        let sql = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
            (SELECT count(*) FROM (SELECT 1 FROM @.identity LIMIT 1) i),
            (SELECT count(*) FROM (SELECT 1 FROM @.spent LIMIT 1) s),
            (SELECT count(*) FROM (SELECT 1 FROM @.failure LIMIT 1) f),
            (SELECT coalesce(pg_catalog.array_agg(id), '{}') FROM @.sealing_key WHERE state = 'current'),
            (SELECT coalesce(pg_catalog.array_agg(id), '{}') FROM @.sealing_key WHERE state = 'retiring')";
        let rows = self.read(sql, &[]).await?;
        let row = rows.first().ok_or(Fault::Closed)?;
        if row.try_get(0).map_err(Fault::from)? {
            return Err(StoreError::Database("the server accepts no writes".into()));
        }
        if let Some(key) = self.missing_key(row).await? {
            return Err(StoreError::MissingKey(key.to_string().into()));
        }
        if !self.writes_fail.load(Ordering::Relaxed) {
            return Ok(());
        }
        let work = async {
            let writing = self.begin(Lock::None).await?;
            let sql = "UPDATE @.throttle_key SET key = key";
            writing.execute(sql, &[]).await?;
            writing.commit().await
        };
        self.written(work).await.map_err(no_change)
    }
}

impl Postgres {
    /// Returns a key that seeds need and this process does not have. `row` has the current keys and
    /// the retiring ones in its last columns.
    async fn missing_key(&self, row: &Row) -> Result<Option<KeyId>, StoreError> {
        let missing = |column: usize| {
            let keys: Vec<&[u8]> = row.try_get(column)?;
            let keys = keys.into_iter().map(key_id);
            let keys: Vec<_> = keys.collect::<Result<_, Fault>>()?;
            let keys = keys.into_iter().filter(|&id| self.ring.find(id).is_none());
            Ok::<_, Fault>(keys.collect::<Vec<_>>())
        };
        if let Some(&current) = missing(4)?.first() {
            return Ok(Some(current));
        }
        // The identities are searched only if a key is missing.
        for key in missing(5)? {
            let sql = "SELECT EXISTS (SELECT 1 FROM @.identity
                WHERE substr(seed, 2, 8) = $1 OR substr(previous_seed, 2, 8) = $1)";
            let rows = self.read(sql, &[(&key.0.as_slice(), Type::BYTEA)]).await?;
            let row = rows.first().ok_or(Fault::Closed)?;
            if row.try_get(0).map_err(Fault::from)? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    async fn try_to_object(&self, missing: &[KeyId]) -> Result<Vec<KeyId>, Fault> {
        let node = &*self.pools.connector().server().node;
        let process = i64::from(std::process::id());
        let writing = self.begin(Lock::None).await?;
        let mut new = Vec::new();
        for id in missing {
            let sql = "INSERT INTO @.key_missing (key, node, process) VALUES ($1, $2, $3)
                ON CONFLICT DO NOTHING";
            let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
                (&id.0.as_slice(), Type::BYTEA),
                (&node, Type::TEXT),
                (&process, Type::INT8),
            ];
            if writing.execute(sql, &parameters).await? > 0 {
                new.push(*id);
            }
        }
        writing.commit().await?;
        Ok(new)
    }
}
