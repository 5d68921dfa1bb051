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
        // The entry that this one replaces drops its seeds, so insert a copy.
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
        let what = Arc::clone(identity);
        self.known
            .insert(ByPrincipal(Arc::clone(&what)), Entry { what, read, as_of });
        self.deadlines.add(identity, now());
    }

    pub(super) fn remember(&self, who: &Principal, loaded: &Loaded) {
        let (read, as_of) = (self.moment(), loaded.as_of);
        match &loaded.identity {
            Some(identity) => {
                self.unknown.invalidate(who);
                // Otherwise moka would keep the existing key, and with it the old record.
                self.known.invalidate(&who.as_ref());
                self.insert(&identity.without_idle_seeds(now()), read, as_of);
            }
            None => {
                self.known.invalidate(&who.as_ref());
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
        self.known.invalidate(&who.as_ref());
        self.unknown.invalidate(who);
    }

    /// Removes the identities with a seed that did not decrypt, so that they are read again.
    pub(super) fn forget_partial(&self) {
        for (_, entry) in &self.known {
            if entry.what.seeds().is_none_or(|seeds| seeds.is_partial) {
                self.known.invalidate(&entry.what.principal.as_ref());
            }
        }
    }

    /// Removes an entry that was read before a change. A read that already reflects the change
    /// stays.
    pub(super) fn forget_before(&self, who: &Principal, changed: Seq) {
        if self
            .known
            .get(&who.as_ref())
            .is_some_and(|entry| entry.as_of < changed)
        {
            self.known.invalidate(&who.as_ref());
        }
        if self
            .unknown
            .get(who)
            .is_some_and(|entry| entry.as_of < changed)
        {
            self.unknown.invalidate(who);
        }
    }
}

pub(super) fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}
