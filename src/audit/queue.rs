//! What waits for the thread that writes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::entry::Entry;

/// How often it is written how many events were lost.
const LOG_LOST: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: Vec<Waiting>,
    /// Whether one of them is waited for.
    pub(super) is_urgent: bool,
    /// Events that were not kept.
    pub(super) lost: u64,
    /// When it was written last how many those were.
    pub(super) logged: Option<Instant>,
    /// Whether lines could not be written of late.
    pub(super) is_failing: bool,
    /// Whether there is no room on the disk for what strangers cause.
    pub(super) is_full: bool,
}

pub(super) struct Waiting {
    pub(super) entries: Vec<Entry>,
    /// How many bytes of room are wanted for what comes.
    pub(super) room: u64,
    /// Who waits for it to be on disk; none for what may be lost.
    pub(super) done: Option<oneshot::Sender<Result<(), Arc<io::Error>>>>,
    /// For how many denials it stands; 0 for what must be written.
    pub(super) denials: u64,
}

impl Waiting {
    /// An entry that nobody waits for.
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
    /// Says whether it is to be written now how many events were lost.
    pub(super) fn is_due(&self) -> bool {
        let is_early = self
            .logged
            .is_some_and(|logged| logged.elapsed() < LOG_LOST);
        self.lost > 0 && !is_early && !self.is_full
    }
}
