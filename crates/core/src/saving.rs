//! Saves what decisions have recorded, and deletes what is no longer needed of it.

use std::sync::atomic::Ordering;

use super::local::LocalAuthenticator;
use super::store::{StoreError, UsageBatch};
use super::time::UnixTime;

/// The maximum number of failure counts of each scope saved in one call.
pub(super) const SAVED: usize = 1000;

impl LocalAuthenticator {
    /// Saves the failure counts and last uses that decisions have recorded, and reads the failure
    /// counts of other processes. Must be called about once a second, and before the process ends.
    ///
    /// # Errors
    /// [`StoreError`]; the next call then saves the failure counts.
    pub async fn save(&self, now: UnixTime) -> Result<(), StoreError> {
        let now = self.counters.failure_time(now);
        let counts = self.throttle.changed(SAVED);
        let uses = std::mem::take(&mut *self.uses.lock());
        let sweep = self.sweeps.due(self.settings.throttle, now);
        if !counts.is_empty() || !uses.is_empty() || sweep.is_some() {
            let saved = self.counters.save(UsageBatch {
                counts: counts.clone(),
                uses,
                sweep,
            });
            saved
                .await
                .inspect_err(|_| self.throttle.unsaved(&counts))?;
            self.sweeps.done(counts.len(), sweep, now);
        }
        let seen = self.seen.load(Ordering::Relaxed);
        let news = self.counters.counts(seen).await?;
        self.throttle.merge(&news.records);
        self.seen.store(news.stamp, Ordering::Relaxed);
        Ok(())
    }
}
