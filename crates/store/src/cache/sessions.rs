//! Sessions, past the cache.

use async_trait::async_trait;
use realmgate_core::{Session, SessionId, Sessions, StoreError, UnixTime, Version};

use super::Cached;

#[async_trait]
impl Sessions for Cached {
    async fn begin_session(&self, session: Session, version: Version) -> Result<bool, StoreError> {
        self.inner.database.begin_session(session, version).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.inner.database.session(id).await
    }

    async fn see_session(&self, id: SessionId, now: UnixTime) -> Result<(), StoreError> {
        self.inner.database.see_session(id, now).await
    }

    async fn end_session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.inner.database.end_session(id).await
    }

    async fn sessions(&self, limit: u32) -> Result<Vec<Session>, StoreError> {
        self.inner.database.sessions(limit).await
    }
}
