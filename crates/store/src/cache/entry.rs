//! What a cache holds, in as little room as moka leaves to choose.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use equivalent::Equivalent;

use crate::database::Seq;
use realmgate_core::{Identity, PrincipalRef};

/// An identity as the key of itself, so that nothing is held twice. It is asked for by a principal.
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

/// What was read. Of unknown principals it is nothing, kept in the same way: both are found at the same
/// cost.
pub(super) struct Entry<T> {
    pub(super) what: Arc<T>,
    /// When: nanoseconds after `Inner::started`.
    pub(super) read: u64,
    pub(super) as_of: Seq,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            what: Arc::clone(&self.what),
            ..*self
        }
    }
}
