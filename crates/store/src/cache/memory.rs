//! Adds entries to the caches and removes them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::entry::{ByPrincipal, Entry};
use super::{ASK_AGAIN, Inner};
use crate::database::{Loaded, Seq};
use realmgate_core::{Identity, Principal, UnixTime};

impl Inner {
    /// Extends a cached identity by [`ASK_AGAIN`] before the database is read again.
    pub(super) fn postpone(&self, identity: &Identity, entry: Entry) -> Arc<Identity> {
        // The entry that this one replaces loses its seeds, so insert a copy.
        let copy = Arc::new(identity.copy());
        self.insert(&copy, entry.read_at(self.postponed(self.options.ttl)));
        copy
    }

    /// Extends the entry of an unknown name alike.
    pub(super) fn postpone_unknown(&self, who: &Principal, entry: Entry) {
        let entry = entry.read_at(self.postponed(self.options.unknown_ttl));
        self.unknown.insert(who.clone(), entry.into());
    }

    /// Returns the time of a read that is out of date after [`ASK_AGAIN`].
    fn postponed(&self, ttl: Duration) -> u64 {
        let left = u64::try_from(ASK_AGAIN.as_nanos()).unwrap_or(0);
        let ttl = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
        (self.moment() + left).saturating_sub(ttl)
    }

    fn insert(&self, identity: &Arc<Identity>, entry: Entry) {
        self.forget_known(&identity.principal);
        self.known.insert(ByPrincipal(Arc::clone(identity)), entry);
        self.deadlines.add(identity, now());
    }

    pub(super) fn remember(&self, who: &Principal, loaded: &Loaded) {
        let entry = Entry::new(self.moment(), loaded.as_of);
        match &loaded.identity {
            Some(identity) => {
                self.unknown.remove(who);
                self.insert(&identity.without_idle_seeds(now()), entry);
            }
            None => {
                self.forget_known(who);
                self.unknown.insert(who.clone(), entry.into());
            }
        }
        // `seen` advances before the caches are cleaned. So if the log has overtaken this read,
        // either the cleaning comes after the lines above, or this check notices it.
        if loaded.as_of.0 < self.seen.load(Ordering::SeqCst) {
            self.forget(who);
        }
    }

    /// Removes a principal from both caches and drops its seeds at once.
    pub(super) fn forget(&self, who: &Principal) {
        self.forget_known(who);
        self.unknown.remove(who);
    }

    fn forget_known(&self, who: &Principal) {
        self.forget_known_if(who, |_| true);
    }

    fn forget_known_if(&self, who: &Principal, is_to_go: impl Fn(&Entry) -> bool) {
        if let Some((key, _)) = self.known.remove_if(&who.as_ref(), is_to_go) {
            self.deadlines.forget(&key.0);
        }
    }

    /// Empties both caches, and drops all seeds at once.
    pub(super) fn forget_all(&self) {
        self.retain(|_| false);
        self.unknown.clear();
    }

    /// Removes the identities with a seed that did not decrypt, so that they are read again.
    pub(super) fn forget_partial(&self) {
        self.retain(|identity| !identity.is_partial);
    }

    fn retain(&self, is_to_stay: impl Fn(&Identity) -> bool) {
        self.known.retain(|key, _| {
            let stays = is_to_stay(&key.0);
            if !stays {
                self.deadlines.forget(&key.0);
            }
            stays
        });
    }

    /// Removes an entry that was read before a change. A read that already reflects the change
    /// stays.
    pub(super) fn forget_before(&self, who: &Principal, changed: Seq) {
        self.forget_known_if(who, |entry| entry.is_before(changed));
        self.unknown
            .remove_if(who, |unknown| unknown.entry.is_before(changed));
    }
}

pub(super) fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}
