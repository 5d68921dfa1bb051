//! Drops seeds from memory as soon as they are not needed.
//!
//! moka frees removed entries lazily, perhaps never, and a permit holds an identity as long as its
//! connection lasts. So the seeds inside the record are dropped, not the record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use moka::notification::RemovalCause;
use parking_lot::Mutex;

use super::entry::{ByPrincipal, Entry};
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

/// Returns the listener that drops the seeds of each entry that leaves the cache. Counts the
/// entries that were evicted for space.
pub(super) fn forgetting(
    evicted: &Arc<AtomicU64>,
    deadlines: &Arc<Deadlines>,
) -> impl Fn(Arc<ByPrincipal>, Entry<Identity>, RemovalCause) + use<> {
    let (evicted, deadlines) = (Arc::clone(evicted), Arc::clone(deadlines));
    move |_, entry, cause| {
        deadlines.remove(&entry.what);
        entry.what.forget_seeds();
        if cause == RemovalCause::Size {
            evicted.fetch_add(1, Ordering::Relaxed);
        }
    }
}
