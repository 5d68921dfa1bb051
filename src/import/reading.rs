//! Reading on a thread of its own, which hands rows over as they come: whatever the database does, whoever
//! asked gets an answer in time and keeps no more rows than were allowed.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::django::{ReadError, Row};
use super::rows::{Part, Rows};
use super::source::Source;

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
