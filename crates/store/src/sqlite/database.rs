//! SQLite as the database under the cache.

use std::sync::Arc;

use async_trait::async_trait;
use realmgate_core::{Principal, StoreError};

use super::changes::{SqliteTail, changes_since};
use super::cutter::Cutter;
use super::pool::{database, pool_error};
use super::query::Sqlite;
use crate::database::{Changes, Database, Loaded, Seq, Tail};
use crate::metrics::{DatabaseCounts, Operation};
use crate::seal::KeyId;

#[async_trait]
impl Database for Sqlite {
    fn metrics(&self) -> &DatabaseCounts {
        &self.counts
    }

    async fn follow(&self) -> Result<(Box<dyn Tail>, Seq), StoreError> {
        let connection = self.tails.get().await.map_err(pool_error)?;
        let (ring, watch) = (Arc::clone(&self.ring), Arc::clone(&self.watch));
        let cutter = Cutter::new(self.writer.clone(), Arc::clone(&watch), self.timeout);
        let tail = SqliteTail::new(connection, ring, (watch, cutter), self.timeout);
        let seen = self.last_seq().await?;
        // When the files are lost, no new connection is made; this one writes the log back at the
        // end.
        drop(self.writer.get().await.map_err(pool_error)?);
        // After a read, so that the log and its index exist.
        let begun = self.watch.begin_with_companions();
        begun.map_err(|error| database(&error))?;
        Ok((Box::new(tail), seen))
    }

    async fn load(&self, who: &Principal) -> Result<Loaded, StoreError> {
        self.watch.verdict()?;
        let loaded = self.loads.load(who.clone());
        self.counts.timed(Operation::Read, loaded, |_| true).await
    }

    async fn changes(&self, after: Seq, limit: u32) -> Result<Changes, StoreError> {
        self.read(move |connection| {
            let snapshot = connection.transaction()?;
            changes_since(&snapshot, after, limit)
        })
        .await
    }

    async fn object(&self, missing: Vec<KeyId>) {
        Self::object(self, missing).await;
    }

    fn key_gains(&self) -> u64 {
        self.ring.gains()
    }

    async fn checkpoint(&self) {
        Self::checkpoint(self).await;
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.probe().await
    }
}
