//! The entries of the caches, kept small.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use equivalent::Equivalent;

use crate::database::Seq;
use realmgate_core::{Identity, PrincipalRef};

/// An identity that is its own key, so that its principal is stored once, and so is the pointer to it.
/// Looked up with [`Finding`] or [`PrincipalRef`].
pub(super) struct ByPrincipal(pub(super) Arc<Identity>);

impl Hash for ByPrincipal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.principal.hash(state);
    }
}

impl PartialEq for ByPrincipal {
    fn eq(&self, other: &Self) -> bool {
        self.0.principal == other.0.principal
    }
}

impl Eq for ByPrincipal {}

impl Equivalent<ByPrincipal> for PrincipalRef<'_> {
    fn equivalent(&self, key: &ByPrincipal) -> bool {
        *self == key.0.principal.as_ref()
    }
}

/// A lookup that takes the identity from the key: the cache returns only the value.
pub(super) struct Finding<'a> {
    who: PrincipalRef<'a>,
    found: Cell<Option<Arc<Identity>>>,
}

impl<'a> Finding<'a> {
    pub(super) fn new(who: PrincipalRef<'a>) -> Self {
        let found = Cell::new(None);
        Self { who, found }
    }

    /// Returns the identity that the lookup has found.
    pub(super) fn found(self) -> Option<Arc<Identity>> {
        self.found.into_inner()
    }
}

impl Hash for Finding<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.who.hash(state);
    }
}

impl Equivalent<ByPrincipal> for Finding<'_> {
    fn equivalent(&self, key: &ByPrincipal) -> bool {
        let is_it = self.who.equivalent(key);
        if is_it {
            self.found.set(Some(Arc::clone(&key.0)));
        }
        is_it
    }
}

/// When a cached entry was read, and the position in the change log that it reflects.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// After `Inner::started`, in units of 67 milliseconds: nine years.
    read: u32,
    /// The lower bits of the position.
    as_of: u32,
}

/// The lower bits of a time in nanoseconds, which are not kept.
const UNIT: u32 = 26;

/// How far the position of a read can be ahead of a change that takes effect only then: more than the log
/// keeps.
const AHEAD: u32 = 1 << 20;

impl Entry {
    /// Makes the entry of a read at `read` nanoseconds after `Inner::started`.
    pub(super) fn new(read: u64, as_of: Seq) -> Self {
        let as_of = low(as_of);
        Self { read: 0, as_of }.read_at(read)
    }

    /// Returns this entry with another time of the read.
    pub(super) fn read_at(self, read: u64) -> Self {
        let read = u32::try_from(read >> UNIT).unwrap_or(u32::MAX);
        Self { read, ..self }
    }

    /// Returns the time since the read, at most a unit more. `now` is in nanoseconds after
    /// `Inner::started`.
    pub(super) fn age(self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(u64::from(self.read) << UNIT))
    }

    /// Returns whether the entry was read before a change, or may have been: positions far apart cannot be
    /// told from each other, and an entry that is removed is only read again.
    pub(super) fn is_before(self, changed: Seq) -> bool {
        self.as_of.wrapping_sub(low(changed)) > AHEAD
    }
}

fn low(position: Seq) -> u32 {
    u32::try_from(position.0 & i64::from(u32::MAX)).unwrap_or(0)
}

/// The entry of an unknown principal.
#[derive(Clone)]
pub(super) struct UnknownEntry {
    /// Shared by each lookup, as an identity is, so that both lookups cost the same.
    _shared: Arc<()>,
    pub(super) entry: Entry,
}

impl From<Entry> for UnknownEntry {
    fn from(entry: Entry) -> Self {
        let _shared = Arc::new(());
        Self { _shared, entry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_of_an_identity_has_16_bytes() {
        assert_eq!(size_of::<(ByPrincipal, Entry)>(), 16);
    }

    #[test]
    fn entry_is_never_younger_than_its_read() {
        const HOUR: u64 = 3_600_000_000_000;
        for read in [0, 1, HOUR, 9 * 365 * 24 * HOUR, u64::MAX - HOUR] {
            let age = Entry::new(read, Seq(0)).age(read + HOUR);
            assert!(age >= Duration::from_nanos(HOUR));
            if read < u64::MAX - HOUR {
                assert!(age < Duration::from_nanos(HOUR + (1 << UNIT)));
            }
        }
    }

    #[test]
    fn entry_is_compared_with_changes_before_and_after_it() {
        let last = i64::from(u32::MAX);
        for as_of in [0, 1, 100_000, last - 1, last, last + 1, 3 * last] {
            let entry = Entry::new(0, Seq(as_of));
            for after in [1, 2, 100_000] {
                assert!(entry.is_before(Seq(as_of + after)));
                assert!(!entry.is_before(Seq(as_of - after)));
            }
            assert!(!entry.is_before(Seq(as_of)));
            // Read billions of changes ago.
            for after in [1 << 31, 3 << 30, last - i64::from(AHEAD)] {
                assert!(entry.is_before(Seq(as_of + after)), "{as_of} {after}");
            }
        }
    }
}
