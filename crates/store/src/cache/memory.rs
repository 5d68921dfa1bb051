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
    pub(super) fn postpone(&self, entry: &Entry<Identity>) -> Arc<Identity> {
        let read = self.postponed(self.options.ttl);
        // The entry that this one replaces loses its seeds, so insert a copy.
        let what = Arc::new(entry.what.copy());
        self.insert(&what, read, entry.as_of);
        what
    }

    /// Extends the entry of an unknown name alike.
    pub(super) fn postpone_unknown(&self, who: &Principal, entry: &Entry<()>) {
        let read = self.postponed(self.options.unknown_ttl);
        let entry = Entry {
            read,
            ..entry.clone()
        };
        self.unknown.insert(who.clone(), entry);
    }

    /// Returns the time of a read that is out of date after [`ASK_AGAIN`].
    fn postponed(&self, ttl: Duration) -> u64 {
        let left = u64::try_from(ASK_AGAIN.as_nanos()).unwrap_or(0);
        let ttl = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
        (self.moment() + left).saturating_sub(ttl)
    }

    fn insert(&self, identity: &Arc<Identity>, read: u64, as_of: Seq) {
        self.forget_known(&identity.principal);
        let what = Arc::clone(identity);
        self.known
            .insert(ByPrincipal(Arc::clone(&what)), Entry { what, read, as_of });
        self.deadlines.add(identity, now());
    }

    pub(super) fn remember(&self, who: &Principal, loaded: &Loaded) {
        let (read, as_of) = (self.moment(), loaded.as_of);
        match &loaded.identity {
            Some(identity) => {
                self.unknown.remove(who);
                self.insert(&identity.without_idle_seeds(now()), read, as_of);
            }
            None => {
                self.forget_known(who);
                let what = Arc::new(());
                self.unknown
                    .insert(who.clone(), Entry { what, read, as_of });
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

    fn forget_known_if(&self, who: &Principal, is_to_go: impl Fn(&Entry<Identity>) -> bool) {
        if let Some((_, entry)) = self.known.remove_if(&who.as_ref(), is_to_go) {
            self.deadlines.forget(&entry.what);
        }
    }

    /// Empties both caches, and drops all seeds at once.
    pub(super) fn forget_all(&self) {
        self.retain(|_| false);
        self.unknown.clear();
    }

    /// Removes the identities with a seed that did not decrypt, so that they are read again.
    pub(super) fn forget_partial(&self) {
        self.retain(|identity| identity.seeds().is_some_and(|seeds| !seeds.is_partial));
    }

    fn retain(&self, is_to_stay: impl Fn(&Identity) -> bool) {
        self.known.retain(|_, entry| {
            let stays = is_to_stay(&entry.what);
            if !stays {
                self.deadlines.forget(&entry.what);
            }
            stays
        });
    }

    /// Removes an entry that was read before a change. A read that already reflects the change
    /// stays.
    pub(super) fn forget_before(&self, who: &Principal, changed: Seq) {
        self.forget_known_if(who, |entry| entry.as_of < changed);
        self.unknown.remove_if(who, |entry| entry.as_of < changed);
    }
}

pub(super) fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}
