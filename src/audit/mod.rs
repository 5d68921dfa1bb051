//! The audit log: who changed which identity from where, and why attempts were denied. JSON lines in a hash
//! chain that `realmgate audit verify` checks.
//!
//! [`event`] is the content of a line, [`changes`] what a change has replaced, [`chain`] links the lines, [`file`] is the file that processes share,
//! [`place`] finds where the next line goes, [`reserve`] keeps room for changes on a full disk, [`denials`] limits
//! the lines that clients cause, [`repeats`] counts repeated denials, [`writer`] is the thread that writes and
//! [`queue`] its queue, [`verify`] checks files, [`positions`] reads positions from another log,
//! [`last`] reads the last lines, [`reasons`] are the codes in them.

mod chain;
mod changes;
mod denials;
mod disk;
mod entry;
mod error;
mod event;
mod file;
mod last;
mod metrics;
mod place;
mod positions;
mod queue;
mod reasons;
mod repeats;
mod reserve;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use chain::{NotAPosition, Position};
pub use changes::Changes;
pub use error::AuditError;
pub use event::{Actor, Event, Kind};
pub use last::{LastError, Page, Wanted, last};
pub use metrics::AuditMetrics;
pub use positions::{PositionsError, read_positions};
pub use reasons::{REASONS, find_reason};
pub use verify::{Finding, Report, VerifyError, verify};
pub use writer::DURABLE;

use crate::config;
use denials::Rank;
use file::Log;
use writer::Writer;

/// The maximum length of the line of a change, in bytes.
pub const LINE: u64 = 64 << 10;

/// A handle of the audit log. All clones write to the same log. Without a configured file it is off, and
/// recording an event does nothing.
#[derive(Clone, Default)]
pub struct Audit(Option<Writer>);

impl Audit {
    /// Opens the log and starts its thread; off if no file is configured.
    ///
    /// # Errors
    /// [`AuditError::Open`].
    pub fn open(options: &config::Audit, metrics: AuditMetrics) -> Result<Self, AuditError> {
        let Some(path) = &options.file else {
            return Ok(Self::default());
        };
        let fail = |error| AuditError::Open(path.clone(), error);
        let log = Log::open(path).map_err(fail)?.of_node(&options.node);
        let writer = Writer::start(log, path, options, metrics).map_err(fail)?;
        Ok(Self(Some(writer)))
    }

    /// Logs the position of the last line, for a process whose log others keep.
    pub fn note_position(&self) {
        if let Some(writer) = &self.0 {
            writer.note();
        }
    }

    /// Resolves when the events are on disk; at once if the log is off.
    ///
    /// # Errors
    /// [`AuditError::Failing`] if they are not on disk after `longest`. They stay in the queue of this process.
    pub async fn record(&self, events: &[Event<'_>], longest: Duration) -> Result<(), AuditError> {
        match &self.0 {
            Some(writer) => writer.write(events, longest).await,
            None => Ok(()),
        }
    }

    /// Resolves when the file is open for writing and its disk has room for a change and `bytes` of lines. To be
    /// called before a change.
    ///
    /// # Errors
    /// [`AuditError::Failing`].
    pub async fn ready(&self, bytes: u64) -> Result<(), AuditError> {
        match &self.0 {
            Some(writer) => writer.ready(bytes).await,
            None => Ok(()),
        }
    }

    /// Adds an event to the queue, without waiting for the disk.
    pub fn log(&self, event: &Event<'_>) {
        if let Some(writer) = &self.0 {
            writer.log(event);
        }
    }

    /// Adds a denial to the queue, or counts it if there are too many.
    pub(crate) fn deny(&self, event: &Event<'_>) {
        if let Some(writer) = &self.0 {
            writer.deny(event, Rank::Common);
        }
    }

    /// Adds the beginning of an attack to the queue. Some room is reserved for these among denials.
    pub(crate) fn attack(&self, event: &Event<'_>) {
        if let Some(writer) = &self.0 {
            writer.deny(event, Rank::Attack);
        }
    }

    /// Returns whether there is a log.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

/// Returns why this user could not write a log, as far as that shows without changing anything.
pub fn obstacle(path: &Path) -> Option<String> {
    disk::obstacle(path)
}

/// Returns the path of the head of a log.
pub fn head_of(path: &Path) -> PathBuf {
    disk::head_path(path)
}

#[cfg(test)]
mod tests;
