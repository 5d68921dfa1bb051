//! Makes caches.

use std::hash::{BuildHasher, Hash};

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, UnitWeighter};

use realmgate_core::StoreError;

/// Makes a cache of at most `capacity` entries. It is divided into parts that share no lock, each with
/// its part of the capacity.
pub(super) fn bounded<K, V, B, L>(
    capacity: u64,
    hasher: B,
    lifecycle: L,
) -> Result<Cache<K, V, UnitWeighter, B, L>, StoreError>
where
    K: Eq + Hash,
    V: Clone,
    B: BuildHasher + Clone,
    L: Lifecycle<K, V> + Clone,
{
    let options = OptionsBuilder::new()
        .estimated_items_capacity(usize::try_from(capacity).unwrap_or(usize::MAX))
        .weight_capacity(capacity)
        .build()
        .map_err(|error| StoreError::Database(error.to_string().into()))?;
    Ok(Cache::with_options(
        options,
        UnitWeighter,
        hasher,
        lifecycle,
    ))
}
