//! This process, as it is recorded in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;
use realmgate_core::Node;

/// The description of this process, and the time of its next record.
#[derive(Default)]
pub(super) struct Own {
    pub(super) node: Mutex<Option<Node>>,
    /// In nanoseconds after the start.
    pub(super) due: AtomicU64,
    pub(super) has_failed: AtomicBool,
    /// Held while the node is recorded, so that nothing is recorded after its deletion.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}
