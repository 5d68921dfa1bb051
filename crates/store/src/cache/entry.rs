//! The entries of the caches, kept small.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use equivalent::Equivalent;

use crate::database::Seq;
use realmgate_core::{Identity, PrincipalRef};

/// An identity that is its own key, so that its principal is stored once. Looked up by
/// [`PrincipalRef`].
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

/// A cached read. Unknown principals have an entry of the same shape, so that both lookups cost the
/// same.
pub(super) struct Entry<T> {
    pub(super) what: Arc<T>,
    /// The time of the read, in nanoseconds after `Inner::started`.
    pub(super) read: u64,
    pub(super) as_of: Seq,
}

impl<T> Entry<T> {
    /// Returns the time since the read. `now` is in nanoseconds after `Inner::started`.
    pub(super) fn age(&self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.read))
    }
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            what: Arc::clone(&self.what),
            ..*self
        }
    }
}
