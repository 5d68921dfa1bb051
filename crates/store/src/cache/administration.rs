//! Administration of identities, past the cache.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use realmgate_core::{
    Administration, Change, ChangeError, ChangeLog, Changed, ChangesAfter, Condition, Created,
    Creation, Deleted, Identity, IdentityId, Imported, ImportedIdentity, Listing, NewIdentity,
    Page, Principal, RealmCount, RealmTotals, Rows, Selection, StoreError, Tally, UnixTime,
    Version,
};

use super::Cached;
use crate::database::{Changes, Seq};

#[async_trait]
impl Administration for Cached {
    async fn identity_by_id(&self, id: IdentityId) -> Result<Option<Arc<Identity>>, StoreError> {
        self.inner.database.identity_by_id(id).await
    }

    async fn identities(
        &self,
        selection: &Selection,
        after: IdentityId,
        limit: u32,
    ) -> Result<Rows, StoreError> {
        let inner = &self.inner;
        let _turn = inner.turn_to_list(limit).await?;
        inner.database.identities(selection, after, limit).await
    }

    async fn list(&self, listing: &Listing) -> Result<Page, StoreError> {
        let inner = &self.inner;
        let _turn = inner.turn_to_list(listing.limit).await?;
        inner.database.list(listing).await
    }

    async fn count(&self, condition: Condition, now: UnixTime) -> Result<Tally, StoreError> {
        self.inner.database.count(condition, now).await
    }

    async fn bad_steps(&self) -> Result<Vec<IdentityId>, StoreError> {
        self.inner.database.bad_steps().await
    }

    async fn create(&self, new: NewIdentity, now: UnixTime) -> Result<Arc<Identity>, ChangeError> {
        let created = self.inner.database.create(new, now).await?;
        self.inner.forget(&created.principal);
        Ok(created)
    }

    async fn reserve(&self, last: IdentityId) -> Result<(), ChangeError> {
        self.inner.database.reserve(last).await
    }

    async fn import(
        &self,
        identities: Vec<ImportedIdentity>,
        now: UnixTime,
    ) -> Result<Vec<Imported>, ChangeError> {
        let who: Vec<Principal> = identities.iter().map(|it| it.principal.clone()).collect();
        let imported = self.inner.database.import(identities, now).await?;
        who.iter()
            .for_each(|principal| self.inner.forget(principal));
        Ok(imported)
    }

    async fn update(
        &self,
        id: IdentityId,
        change: Change,
        now: UnixTime,
    ) -> Result<Option<Changed>, ChangeError> {
        let changed = self.inner.database.update(id, change, now).await?;
        if let Some(Changed { was, identity }) = &changed {
            self.inner.forget(was);
            self.inner.forget(&identity.principal);
        }
        Ok(changed)
    }

    async fn create_all(
        &self,
        creations: Vec<Creation>,
        now: UnixTime,
    ) -> Result<Vec<Created>, ChangeError> {
        let created = self.inner.database.create_all(creations, now).await?;
        for one in &created {
            if let Created::New(identity) = one {
                self.inner.forget(&identity.principal);
            }
        }
        Ok(created)
    }

    async fn delete(
        &self,
        id: IdentityId,
        expected: Option<Version>,
    ) -> Result<Option<Deleted>, ChangeError> {
        let deleted = self.inner.database.delete(id, expected).await?;
        if let Some(principal) = deleted.as_ref().and_then(|it| it.principal.as_ref()) {
            self.inner.forget(principal);
        }
        Ok(deleted)
    }

    async fn realms(&self, after: &str, limit: u32) -> Result<Vec<RealmCount>, StoreError> {
        self.inner.database.realms(after, limit).await
    }

    async fn totals(&self) -> Result<RealmTotals, StoreError> {
        self.inner.database.totals().await
    }
}

#[async_trait]
impl ChangeLog for Cached {
    fn position(&self) -> i64 {
        self.inner.seen.load(Ordering::SeqCst)
    }

    async fn changes(&self, after: i64, limit: u32) -> Result<ChangesAfter, StoreError> {
        Ok(
            match self.inner.database.changes(Seq(after), limit).await? {
                Changes::None => ChangesAfter {
                    changed: Some(Vec::new()),
                    last: after,
                },
                Changes::Some(changed, last) => ChangesAfter {
                    changed: Some(changed.into_iter().map(|(who, _)| who).collect()),
                    last: last.0,
                },
                Changes::Unknown(last) => ChangesAfter {
                    changed: None,
                    last: last.0,
                },
            },
        )
    }
}
