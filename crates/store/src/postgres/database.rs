//! PostgreSQL as the database under the cache.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use realmgate_core::{
    Change, ChangeError, Changed, Claim, Counts, Created, Creation, Identity, IdentityId, Imported,
    ImportedIdentity, NewIdentity, Principal, RealmCount, Selection, Step, StoreError, UnixTime,
    UsageBatch, Version,
};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::identities::no_change;
use super::query::Postgres;
use super::rows::key_id;
use super::tail::PostgresTail;
use super::transaction::Lock;
use crate::database::{Changes, Database, Loaded, Seq, Tail};
use crate::metrics::{DatabaseCounts, PoolMetrics};
use crate::seal::KeyId;

#[async_trait]
impl Database for Postgres {
    fn metrics(&self) -> &DatabaseCounts {
        &self.counts
    }

    fn pool(&self) -> Option<PoolMetrics> {
        Some(self.pools.metrics())
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

    fn has_claims(&self) -> bool {
        true
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Duration>, StoreError> {
        Self::claim(self, claim).await
    }

    async fn end(&self, claim: Claim, is_guess: bool) -> Result<(), StoreError> {
        Self::end(self, claim, is_guess).await
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

    /// Nothing to do: the server keeps what it has confirmed.
    async fn checkpoint(&self) {}

    async fn ping(&self) -> Result<(), StoreError> {
        let sql = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
            (SELECT count(*) FROM (SELECT 1 FROM @.identity LIMIT 1) i),
            (SELECT count(*) FROM (SELECT 1 FROM @.spent LIMIT 1) s),
            (SELECT count(*) FROM (SELECT 1 FROM @.failure LIMIT 1) f),
            (SELECT coalesce(array_agg(id), '{}') FROM @.sealing_key WHERE state = 'current'),
            (SELECT coalesce(array_agg(id), '{}') FROM @.sealing_key WHERE state = 'retiring')";
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
