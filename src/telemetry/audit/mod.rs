//! Who did what to which identity from where, and why attempts were denied: JSON lines in a chain that
//! `realmgate audit verify` checks.
//!
//! [`event`] is what a line says, [`chain`] how lines hold together, [`file`] how processes share the file,
//! [`writer`] the thread that writes, [`verify`] the check.

mod chain;
mod event;
mod figures;
mod file;
mod verify;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use thiserror::Error;

pub use chain::{NotAPosition, Position};
pub use event::{Actor, Event, Kind};
pub use figures::AuditFigures;
pub use verify::{Finding, Report, VerifyError, verify};

use crate::config;
use file::Log;
use writer::Writer;

/// The log of this process, as its log on standard error is.
static AUDIT: OnceLock<Writer> = OnceLock::new();

/// Opens the log, if one is configured. A second call changes nothing.
///
/// # Errors
/// [`AuditError::Open`].
pub fn start(options: &config::Audit) -> Result<(), AuditError> {
    let Some(path) = &options.file else {
        return Ok(());
    };
    if AUDIT.get().is_some() {
        return Ok(());
    }
    let fail = |error| AuditError::Open(path.clone(), error);
    let log = Log::open(path).map_err(fail)?;
    // What is noted elsewhere, as here, a forged log must hold too.
    tracing::info!(file = %path.display(), at = %log.last(), "audit log");
    let writer = Writer::start(log, options.denials_per_second).map_err(fail)?;
    let _ = AUDIT.set(writer);
    Ok(())
}

/// Resolves when events are on disk; at once without a log.
///
/// # Errors
/// [`AuditError::Failing`].
pub async fn record(events: &[Event<'_>]) -> Result<(), AuditError> {
    match AUDIT.get() {
        Some(audit) => audit.write(events).await,
        None => Ok(()),
    }
}

/// Says whether events can be recorded now: who is about to change something asks before.
///
/// # Errors
/// [`AuditError::Failing`].
pub fn ready() -> Result<(), AuditError> {
    match AUDIT.get() {
        Some(audit) if audit.is_failing() => Err(AuditError::Failing),
        _ => Ok(()),
    }
}

/// Leaves a denial, which is counted instead where there are too many.
pub(super) fn deny(event: &Event<'_>) {
    if let Some(audit) = AUDIT.get() {
        audit.deny(event);
    }
}

/// Leaves an event that nobody waits for.
pub fn note(event: &Event<'_>) {
    if let Some(audit) = AUDIT.get() {
        audit.note(event);
    }
}

/// Says whether there is a log.
pub(super) fn is_on() -> bool {
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
    Failing,
}

/// Returns where the head of a log is kept.
pub fn head_of(path: &Path) -> PathBuf {
    file::head_path(path)
}

#[cfg(test)]
mod tests;
