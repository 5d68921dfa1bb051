//! The realms with their numbers of identities, which take long to count.

use std::sync::Arc;

use parking_lot::Mutex;

use super::fault::Fault;
use super::visit::Visit;
use crate::auth::UnixTime;
use crate::doors::v1::types::Realms;

/// How long a count is shown before it is made again, in seconds.
const FRESH: u64 = 60;

/// The most realms that are counted.
const MOST: u32 = 1000;

/// The last count, with its time.
pub(super) type Counted = (Arc<Realms>, UnixTime);

/// The last count.
#[derive(Clone, Default)]
pub(super) struct RealmCounts(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last: Option<Counted>,
    is_counting: bool,
}

impl RealmCounts {
    /// Returns the last count, if there is one.
    pub(super) fn last(&self) -> Option<Counted> {
        self.0.lock().last.clone()
    }

    /// Returns the last count. If it is old, another one begins. Only the first count is waited for.
    ///
    /// # Errors
    /// The realms cannot be read.
    pub(super) async fn get(&self, visit: &Visit) -> Result<Counted, Fault> {
        let Some(last) = self.last() else {
            return self.count(visit).await;
        };
        let now = visit.client.now.as_secs();
        let is_old = now >= last.1.as_secs().saturating_add(FRESH);
        let mut begins = false;
        if is_old {
            let mut state = self.0.lock();
            begins = !std::mem::replace(&mut state.is_counting, true);
        }
        if begins {
            let (this, visit) = (self.clone(), visit.clone());
            tokio::spawn(async move {
                let _ = this.count(&visit).await;
                this.0.lock().is_counting = false;
            });
        }
        Ok(last)
    }

    async fn count(&self, visit: &Visit) -> Result<Counted, Fault> {
        let realms: Realms = visit.get(&format!("/v1/realms?limit={MOST}")).await?;
        let counted = (Arc::new(realms), visit.client.now);
        self.0.lock().last = Some(counted.clone());
        Ok(counted)
    }
}
