//! What is kept under a configured name for as long as the configuration has it.

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// Things with names, each held by whoever counts in it.
pub(super) struct Named<T>(Mutex<Vec<(Box<str>, Weak<T>)>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Named<T> {
    /// Returns what is called so, or makes it. A configuration that is read again goes on with what the
    /// one before has counted.
    pub(super) fn of(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut all = self.0.lock();
        all.retain(|(_, weak)| weak.strong_count() > 0);
        let found = all.iter().find(|(known, _)| **known == *name);
        if let Some(found) = found.and_then(|(_, weak)| weak.upgrade()) {
            return found;
        }
        let made = Arc::new(make());
        all.push((name.into(), Arc::downgrade(&made)));
        made
    }

    /// Returns all that somebody holds, with their names.
    pub(super) fn all(&self) -> Vec<(Box<str>, Arc<T>)> {
        let all = self.0.lock();
        let held = all.iter();
        held.filter_map(|(name, weak)| Some((name.clone(), weak.upgrade()?)))
            .collect()
    }
}

impl<T> fmt::Debug for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_gone_and_what_is_held_is_found_again() {
        let named = Named::default();
        let one = named.of("one", || 1);
        drop(named.of("two", || 2));
        assert_eq!(*named.of("one", || 3), 1);
        assert_eq!(*named.of("two", || 4), 4);
        let all = named.all();
        assert_eq!(all.len(), 1);
        assert!(Arc::ptr_eq(&all[0].1, &one));
    }
}
