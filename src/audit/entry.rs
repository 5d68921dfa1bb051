use std::time::SystemTime;

use super::event::Event;

/// The content of a line, without its position in the chain.
pub(super) struct Entry {
    pub(super) time: SystemTime,
    pub(super) body: String,
}

impl Entry {
    /// Makes the entry of an event.
    pub(super) fn of(event: &Event<'_>, time: SystemTime) -> Self {
        Self {
            time,
            body: event.body(),
        }
    }
}
