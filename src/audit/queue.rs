//! The queue of the thread that writes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::entry::Entry;

/// The minimum interval between lines with the number of lost denials.
const LOG_LOST: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: Vec<Waiting>,
    /// Whether a caller waits for one of the entries.
    pub(super) is_urgent: bool,
    /// The denials that were dropped since the last line about them.
    pub(super) lost: u64,
    /// The time of that line.
    pub(super) logged: Option<Instant>,
    /// Whether the last write failed.
    pub(super) is_failing: bool,
    /// Whether the disk has no room for denials.
    pub(super) is_full: bool,
}

pub(super) struct Waiting {
    pub(super) entries: Vec<Entry>,
    /// The room to reserve for later lines, in bytes.
    pub(super) room: u64,
    /// Notifies the caller when the entries are on disk; `None` if no caller waits.
    pub(super) done: Option<oneshot::Sender<Result<(), Arc<io::Error>>>>,
    /// The number of denials that the entry stands for; 0 for entries that must not be lost.
    pub(super) denials: u64,
}

impl Waiting {
    /// Makes an entry that no caller waits for.
    pub(super) fn nobody(entry: Entry, denials: u64) -> Self {
        Self {
            entries: vec![entry],
            room: 0,
            done: None,
            denials,
        }
    }
}

impl Queue {
    /// Returns whether a line about dropped denials is due.
    pub(super) fn is_due(&self) -> bool {
        let is_early = self
            .logged
            .is_some_and(|logged| logged.elapsed() < LOG_LOST);
        self.lost > 0 && !is_early && !self.is_full
    }
}
