//! Drops seeds from memory as soon as they are not needed.
//!
//! A permit holds an identity as long as its connection lasts. So the seeds inside the record are
//! dropped, not the record.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use quick_cache::Lifecycle;

use super::entry::{ByPrincipal, Entry};
use crate::metrics::Evicted;
use realmgate_core::{Identity, IdentityId, UnixTime};

/// Cached identities with a seed that ends at a known time: the end of an overlap or of the
/// validity period.
#[derive(Default)]
pub(super) struct Deadlines(Mutex<BTreeMap<(UnixTime, IdentityId), Weak<Identity>>>);

impl Deadlines {
    pub(super) fn add(&self, identity: &Arc<Identity>, now: UnixTime) {
        if let Some(at) = identity.forget_at(now) {
            let place = (at, identity.id);
            self.0.lock().insert(place, Arc::downgrade(identity));
        }
    }

    /// Drops the seeds of an identity that leaves the cache.
    pub(super) fn forget(&self, identity: &Arc<Identity>) {
        self.remove(identity);
        identity.forget_seeds();
    }

    fn remove(&self, identity: &Arc<Identity>) {
        let times = [identity.previous_until(), identity.terms().expires];
        if times == [None, None] {
            return;
        }
        let mut all = self.0.lock();
        for at in times.into_iter().flatten() {
            let place = (at, identity.id);
            let is_it = |it: &Weak<Identity>| std::ptr::eq(it.as_ptr(), Arc::as_ptr(identity));
            if all.get(&place).is_some_and(is_it) {
                all.remove(&place);
            }
        }
    }

    /// Returns the identities whose time has come, and removes them from the list.
    pub(super) fn due(&self, now: UnixTime) -> Vec<Arc<Identity>> {
        let mut all = self.0.lock();
        let mut due = Vec::new();
        while let Some(first) = all.first_entry()
            && first.key().0 <= now
        {
            due.extend(first.remove().upgrade());
        }
        due
    }
}

/// Drops the seeds of each identity that is evicted for space, and counts it.
#[derive(Clone)]
pub(super) struct Forgetting {
    pub(super) deadlines: Arc<Deadlines>,
    pub(super) evicted: Evicted,
}

impl Lifecycle<ByPrincipal, Entry> for Forgetting {
    type RequestState = ();

    fn begin_request(&self) {}

    fn on_evict(&self, (): &mut (), key: ByPrincipal, _: Entry) {
        self.deadlines.forget(&key.0);
        self.evicted.count();
    }
}
