//! A map of bounded size that forgets what was added long ago.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// The entries that were added last, in a newer and an older half.
pub(super) struct Lately<K, V> {
    halves: Mutex<[HashMap<K, V>; 2]>,
    /// The maximum number of entries in each half.
    half: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> Lately<K, V> {
    pub(super) fn new(half: usize) -> Self {
        Self {
            halves: Mutex::default(),
            half,
        }
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.halves.lock().iter().any(|half| half.contains_key(key))
    }

    /// Adds an entry, or makes it one of the newer half.
    pub(super) fn add(&self, key: &K, make: impl FnOnce() -> V) {
        let mut halves = self.halves.lock();
        let [newer, older] = &mut *halves;
        if newer.contains_key(key) {
            return;
        }
        if newer.len() >= self.half {
            *older = std::mem::take(newer);
        }
        let value = older.remove(key).unwrap_or_else(make);
        newer.insert(key.clone(), value);
    }

    pub(super) fn remove(&self, key: &K) {
        for half in &mut *self.halves.lock() {
            half.remove(key);
        }
    }

    /// Returns all values, in no order.
    pub(super) fn values(&self) -> Vec<V> {
        let halves = self.halves.lock();
        halves.iter().flat_map(HashMap::values).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_bounded_and_the_last_ones_are_kept() {
        let lately = Lately::new(100);
        for n in 0..10_000 {
            lately.add(&n, || n);
            lately.add(&n, || panic!("it is there"));
        }
        let kept = lately.values();
        assert!((100..=200).contains(&kept.len()), "{}", kept.len());
        assert!((9_900..10_000).all(|n| lately.contains(&n)));
        lately.remove(&9_999);
        assert!(!lately.contains(&9_999));
    }
}
