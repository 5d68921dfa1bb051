use std::sync::mpsc::SyncSender;

use super::django::{ReadError, Row};

/// The maximum number of rows of a batch, and the approximate maximum of bytes.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 18;

/// A message of the reading thread.
pub(super) enum Part {
    Rows(Vec<Row>),
    End(Result<(), ReadError>),
}

/// The sender of the reading thread.
pub(super) struct Rows {
    sender: SyncSender<Part>,
    batch: Vec<Row>,
    bytes: usize,
}

impl Rows {
    /// Makes a sender that batches rows.
    pub(super) fn new(sender: SyncSender<Part>) -> Self {
        Self {
            sender,
            batch: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a row, and blocks while the channel is full. Returns `false` if the receiver is gone.
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

    /// Sends the remaining rows and the result.
    pub(super) fn end(mut self, outcome: Result<(), ReadError>) {
        self.flush();
        // A receiver that is gone has already reported a timeout.
        let _ = self.sender.send(Part::End(outcome));
    }
}
