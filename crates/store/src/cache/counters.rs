//! One-time use, failure counts and claims, which are not cached.

use async_trait::async_trait;
use realmgate_core::{
    Claim, ClaimOutcome, Counters, Counts, IdentityId, Step, StoreError, UnixTime, UsageBatch,
};

use super::Cached;

#[async_trait]
impl Counters for Cached {
    fn failure_time(&self, now: UnixTime) -> UnixTime {
        self.inner.database.failure_time(now)
    }

    async fn use_step(&self, id: IdentityId, step: Step, window: u8) -> Result<bool, StoreError> {
        self.inner.database.use_step(id, step, window).await
    }

    async fn counts(&self, after: i64) -> Result<Counts, StoreError> {
        self.inner.database.counts(after).await
    }

    async fn save(&self, batch: UsageBatch) -> Result<(), StoreError> {
        self.inner.database.save(batch).await
    }

    fn has_claims(&self) -> bool {
        self.inner.database.has_claims()
    }

    async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, StoreError> {
        self.inner.database.claim(claim).await
    }

    async fn end(&self, claim: Claim, granted: i64, is_guess: bool) -> Result<(), StoreError> {
        self.inner.database.end(claim, granted, is_guess).await
    }
}
