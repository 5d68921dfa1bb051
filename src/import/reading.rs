//! Reads a source on a thread of its own, so that a slow database cannot exceed the time limit, nor
//! a large one the row limit.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::django::{ReadError, Row};
use super::rows::{Part, Rows};
use super::source::Source;

/// The maximum number of batches in the channel.
const WAITING: usize = 2;

/// The limits of a read.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The maximum number of rows.
    pub rows: usize,
    /// The maximum duration.
    pub within: Duration,
}

impl Source {
    /// Reads all rows in one read-only transaction, in any order, and passes each to `take`.
    ///
    /// A read that hangs is abandoned on its thread, which ends with the process.
    ///
    /// # Errors
    /// [`ReadError`]; `take` may have been called for some of the rows.
    pub fn read(&self, bounds: Bounds, take: impl FnMut(Row)) -> Result<(), ReadError> {
        let deadline = Instant::now() + bounds.within;
        let (sender, receiver) = sync_channel(WAITING);
        let source = self.clone();
        thread::Builder::new()
            .name("import".to_owned())
            .spawn(move || {
                let mut rows = Rows::new(sender);
                let outcome = source.select(&mut rows);
                rows.end(outcome);
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
