use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

/// Why an event is not in the log.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The log cannot be opened.
    #[error("audit.file {0}: cannot be read and written")]
    Open(PathBuf, #[source] io::Error),
    /// The log cannot be written at the moment.
    #[error("the audit log cannot be written")]
    Failing(#[source] Option<Arc<io::Error>>),
}
