//! SQLite as the database under the cache.

use std::sync::Arc;

use async_trait::async_trait;
use realmgate_core::{
    Change, ChangeError, Changed, Counts, Created, Creation, Identity, IdentityId, Imported,
    ImportedIdentity, NewIdentity, Principal, RealmCount, Selection, Step, StoreError, UnixTime,
    UsageBatch, Version,
};

use super::changes::SqliteTail;
use super::cutter::Cutter;
use super::identities::Sqlite;
use super::pool::{database, pool_error};
use crate::database::{Changes, Database, Loaded, Seq, Tail};
use crate::metrics::DatabaseCounts;
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
        Self::load(self, who).await
    }

    async fn load_by_id(&self, id: IdentityId) -> Result<Option<Arc<Identity>>, StoreError> {
        Self::load_by_id(self, id).await
    }

    async fn page(
        &self,
        selection: &Selection,
        after: IdentityId,
        limit: u32,
    ) -> Result<Vec<Arc<Identity>>, StoreError> {
        Self::page(self, selection, after, limit).await
    }

    async fn insert(&self, new: NewIdentity, now: UnixTime) -> Result<Arc<Identity>, ChangeError> {
        Self::insert(self, new, now).await
    }

    async fn import(
        &self,
        identities: Vec<ImportedIdentity>,
        now: UnixTime,
    ) -> Result<Vec<Imported>, ChangeError> {
        Self::import(self, identities, now).await
    }

    async fn reserve(&self, last: IdentityId) -> Result<(), ChangeError> {
        Self::reserve(self, last).await
    }

    async fn update(
        &self,
        id: IdentityId,
        change: Change,
        now: UnixTime,
    ) -> Result<Option<Changed>, ChangeError> {
        Self::update(self, id, change, now).await
    }

    async fn insert_all(
        &self,
        creations: Vec<Creation>,
        now: UnixTime,
    ) -> Result<Vec<Created>, ChangeError> {
        Self::insert_all(self, creations, now).await
    }

    async fn delete(
        &self,
        id: IdentityId,
        expected: Option<Version>,
    ) -> Result<Option<Principal>, ChangeError> {
        Self::delete(self, id, expected).await
    }

    async fn realms(&self, after: &str, limit: u32) -> Result<Vec<RealmCount>, StoreError> {
        Self::realms(self, after, limit).await
    }

    async fn changes(&self, after: Seq, limit: u32) -> Result<Changes, StoreError> {
        Self::changes(self, after, limit).await
    }

    async fn use_step(&self, id: IdentityId, step: Step, window: u8) -> Result<bool, StoreError> {
        Self::use_step(self, id, step, window).await
    }

    async fn counts(&self, after: i64) -> Result<Counts, StoreError> {
        Self::counts(self, after).await
    }

    async fn save(&self, batch: UsageBatch) -> Result<(), StoreError> {
        Self::save(self, batch).await
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
