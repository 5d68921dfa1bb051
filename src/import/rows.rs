use std::sync::mpsc::SyncSender;

use super::django::{ReadError, Row};

/// The most rows, and about the most bytes, that are handed over at once.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 18;

/// What the thread that reads sends.
pub(super) enum Part {
    Rows(Vec<Row>),
    End(Result<(), ReadError>),
}

/// Where rows go that have been read.
pub(super) struct Rows {
    sender: SyncSender<Part>,
    batch: Vec<Row>,
    bytes: usize,
}

impl Rows {
    /// Sends rows to `sender`, a batch at a time.
    pub(super) fn new(sender: SyncSender<Part>) -> Self {
        Self {
            sender,
            batch: Vec::new(),
            bytes: 0,
        }
    }

    /// Hands a row over, and waits while those before it are not taken. Says whether anybody still asks.
    pub(super) fn push(&mut self, row: Row) -> bool {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.bytes += length(&row.name) + length(&row.realm) + row.seed.len();
        self.batch.push(row);
        if self.batch.len() < BATCH && self.bytes < BATCH_BYTES {
            return true;
        }
        self.flush()
    }

    fn flush(&mut self) -> bool {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.sender.send(Part::Rows(batch)).is_ok()
    }

    /// Sends what is left, and how the reading ended.
    pub(super) fn end(mut self, outcome: Result<(), ReadError>) {
        self.flush();
        // A receiver that no longer waits has already reported a timeout.
        let _ = self.sender.send(Part::End(outcome));
    }
}
