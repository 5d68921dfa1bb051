//! Values under configured names, kept while they are in use.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// The minimum number of names at which unused ones are removed.
const SWEPT: usize = 64;

/// Values with names. The registry holds them weakly; their users keep them alive.
pub(crate) struct Named<T>(Mutex<Known<T>>);

struct Known<T> {
    /// By name, with the number that orders them by creation.
    all: HashMap<Box<str>, (u64, Weak<T>)>,
    made: u64,
    /// The number of names at which unused ones are removed.
    room: usize,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Mutex::new(Known {
            all: HashMap::new(),
            made: 0,
            room: SWEPT,
        }))
    }
}

impl<T> Named<T> {
    /// Returns the value of a name, making it if necessary. So a reloaded configuration continues
    /// the counters of the one before.
    pub(crate) fn of(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut known = self.0.lock();
        let found = known.all.get(name);
        if let Some(found) = found.and_then(|(_, weak)| weak.upgrade()) {
            return found;
        }
        if known.all.len() >= known.room {
            known.all.retain(|_, (_, weak)| weak.strong_count() > 0);
            known.room = SWEPT.max(known.all.len() * 2);
        }
        let made = Arc::new(make());
        known.made += 1;
        let place = known.made;
        known
            .all
            .insert(name.into(), (place, Arc::downgrade(&made)));
        made
    }

    /// Returns all values in use with their names, in the order of their creation.
    pub(crate) fn all(&self) -> Vec<(Box<str>, Arc<T>)> {
        let known = self.0.lock();
        let held = known.all.iter();
        let held = held.filter_map(|(name, (place, weak))| Some((*place, name, weak.upgrade()?)));
        let mut held: Vec<_> = held.collect();
        held.sort_unstable_by_key(|(place, ..)| *place);
        let held = held.into_iter();
        held.map(|(_, name, thing)| (name.clone(), thing)).collect()
    }
}

impl<T> fmt::Debug for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    /// Returns the time that this thread has had a processor. It does not count while other
    /// programs run.
    fn on_the_processor() -> Duration {
        Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
    }

    #[test]
    fn unused_counters_are_gone_and_used_ones_are_found_again() {
        let named = Named::default();
        let one = named.of("one", || 1);
        drop(named.of("two", || 2));
        assert_eq!(*named.of("one", || 3), 1);
        assert_eq!(*named.of("two", || 4), 4);
        let all = named.all();
        assert_eq!(all.len(), 1);
        assert!(Arc::ptr_eq(&all[0].1, &one));
    }

    #[test]
    fn unused_names_are_dropped_and_the_others_keep_their_order() {
        let named = Named::default();
        let names: Vec<_> = (0..1_000).map(|at| format!("n{at}")).collect();
        let held: Vec<_> = names.iter().map(|name| named.of(name, || 0)).collect();
        for at in 0..100_000 {
            drop(named.of(&format!("gone{at}"), || 0));
        }
        assert!(named.0.lock().all.len() <= 2 * held.len());
        let all = named.all();
        assert!(all.iter().map(|(name, _)| &**name).eq(names.iter()));
    }

    #[test]
    fn time_grows_with_the_names_and_not_with_their_square() {
        let took = |count: usize| {
            let named = Named::default();
            let names: Vec<_> = (0..count).map(|at| at.to_string()).collect();
            let began = on_the_processor();
            let held: Vec<_> = names.iter().map(|name| named.of(name, || 0)).collect();
            assert_eq!(named.all().len(), held.len());
            on_the_processor() - began
        };
        // The fastest of a few runs, because other programs may slow one down.
        let fastest = |count| (0..5).map(|_| took(count)).min().unwrap();
        let (few, many) = (fastest(4_000), fastest(32_000));
        // Eight times as many: by the square they would take 64 times as long.
        assert!(many < few * 32, "{few:?}, {many:?}");
    }
}
