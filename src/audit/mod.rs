//! Who did what to which identity from where, and why attempts were denied: JSON lines in a chain that
//! `realmgate audit verify` checks.
//!
//! [`event`] is what a line says, [`chain`] how lines hold together, [`file`] how processes share the file,
//! [`place`] what is looked at before a line is added, [`reserve`] the room for changes on a full disk,
//! [`denials`] the bounds of the lines that strangers cause, [`repeats`] the count of denials that repeat,
//! [`writer`] the thread that writes and [`queue`] what waits for it, [`verify`] the check, [`positions`] places of
//! lines in another log.

mod chain;
mod denials;
mod event;
mod file;
mod metrics;
mod place;
mod positions;
mod queue;
mod repeats;
mod reserve;
mod verify;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thiserror::Error;

pub use chain::{NotAPosition, Position};
pub use event::{Actor, Event, Kind};
pub use metrics::AuditMetrics;
pub use positions::{PositionsError, read_positions};
pub use verify::{Finding, Report, VerifyError, verify};

use crate::config;
use denials::Rank;
use file::Log;
use writer::Writer;

/// The longest wait of a caller for a line to be on disk.
pub const DURABLE: Duration = Duration::from_secs(10);

/// How many bytes the line of a change takes at most.
pub const LINE: u64 = 64 << 10;

/// The log of this process, as its log on standard error is.
static AUDIT: OnceLock<Writer> = OnceLock::new();

/// Opens the log, if one is configured. A second call changes nothing.
///
/// # Errors
/// [`AuditError::Open`].
pub fn start(options: &config::Audit, metrics: AuditMetrics) -> Result<(), AuditError> {
    let Some(path) = &options.file else {
        return Ok(());
    };
    if AUDIT.get().is_some() {
        return Ok(());
    }
    let fail = |error| AuditError::Open(path.clone(), error);
    let log = Log::open(path).map_err(fail)?;
    let writer = Writer::start(log, path, options, metrics).map_err(fail)?;
    let _ = AUDIT.set(writer);
    Ok(())
}

/// Resolves when events are on disk; at once without a log.
///
/// # Errors
/// [`AuditError::Failing`]: not within `longest`. They stay in the queue of this process.
pub async fn record(events: &[Event<'_>], longest: Duration) -> Result<(), AuditError> {
    match AUDIT.get() {
        Some(audit) => audit.write(events, longest).await,
        None => Ok(()),
    }
}

/// Resolves when so many bytes of lines can be recorded: who is about to change something asks before. The file is
/// open for writing then, and its disk has room for the change and these lines.
///
/// # Errors
/// [`AuditError::Failing`].
pub async fn ready(bytes: u64) -> Result<(), AuditError> {
    match AUDIT.get() {
        Some(audit) => audit.ready(bytes).await,
        None => Ok(()),
    }
}

/// Says why this user could not write a log, as far as that shows without touching it.
pub fn obstacle(path: &Path) -> Option<String> {
    file::obstacle(path)
}

/// Leaves a denial, which is counted instead where there are too many.
pub(crate) fn deny(event: &Event<'_>) {
    if let Some(audit) = AUDIT.get() {
        audit.deny(event, Rank::Common);
    }
}

/// Leaves that an attack has begun: denials do not take all of the room for these.
pub(crate) fn attack(event: &Event<'_>) {
    if let Some(audit) = AUDIT.get() {
        audit.deny(event, Rank::Attack);
    }
}

/// Leaves an event that nobody waits for.
pub fn log(event: &Event<'_>) {
    if let Some(audit) = AUDIT.get() {
        audit.log(event);
    }
}

/// Says whether there is a log.
pub(crate) fn is_on() -> bool {
    AUDIT.get().is_some()
}

/// Why something is not in the log.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The log cannot be opened.
    #[error("audit.file {0}: cannot be read and written")]
    Open(PathBuf, #[source] io::Error),
    /// It cannot be written now.
    #[error("the audit log cannot be written")]
    Failing(#[source] Option<Arc<io::Error>>),
}

/// Returns where the head of a log is kept.
pub fn head_of(path: &Path) -> PathBuf {
    file::head_path(path)
}

#[cfg(test)]
mod tests;
