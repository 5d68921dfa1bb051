//! Reading on a thread of its own, which hands rows over as they come: whatever the database does, whoever
//! asked gets an answer in time and keeps no more rows than were allowed.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::django::{ReadError, Row, Source};

/// The most rows, and about the most bytes, that are handed over at once.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 18;
/// The most batches that wait.
const WAITING: usize = 2;

/// What reading may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most rows.
    pub rows: usize,
    /// The longest time.
    pub within: Duration,
}

enum Part {
    Rows(Vec<Row>),
    End(Result<(), ReadError>),
}

impl Source {
    /// Reads every row, in whatever order, in one transaction that writes nothing, and gives each to `take`.
    ///
    /// A reading that hangs is left behind on its thread, which ends with the process.
    ///
    /// # Errors
    /// [`ReadError`]. Then `take` may have got some of the rows.
    pub fn read(&self, bounds: Bounds, take: impl FnMut(Row)) -> Result<(), ReadError> {
        let deadline = Instant::now() + bounds.within;
        let (sender, receiver) = sync_channel(WAITING);
        let source = self.clone();
        thread::Builder::new()
            .name("import".to_owned())
            .spawn(move || {
                let mut rows = Rows {
                    sender,
                    batch: Vec::new(),
                    bytes: 0,
                };
                let outcome = source.select(&mut rows);
                rows.flush();
                // Who does not wait any more has been told that it took too long.
                let _ = rows.sender.send(Part::End(outcome));
            })
            .map_err(ReadError::Start)?;
        receive(&receiver, bounds, deadline, take)
    }
}

fn receive(
    parts: &Receiver<Part>,
    bounds: Bounds,
    deadline: Instant,
    mut take: impl FnMut(Row),
) -> Result<(), ReadError> {
    let mut left = bounds.rows;
    loop {
        let patience = deadline.saturating_duration_since(Instant::now());
        match parts.recv_timeout(patience) {
            Ok(Part::Rows(rows)) => {
                left = left
                    .checked_sub(rows.len())
                    .ok_or(ReadError::TooMany(bounds.rows))?;
                rows.into_iter().for_each(&mut take);
            }
            Ok(Part::End(outcome)) => return outcome,
            Err(RecvTimeoutError::Timeout) => return Err(ReadError::Late(bounds.within)),
            Err(RecvTimeoutError::Disconnected) => return Err(ReadError::BrokenOff),
        }
    }
}

/// Where rows go that have been read.
pub(super) struct Rows {
    sender: SyncSender<Part>,
    batch: Vec<Row>,
    bytes: usize,
}

impl Rows {
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
}
