//! Why a database was not copied.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::location::Location;
use crate::open_error::OpenError;

/// Why a database was not copied. Unless a variant says otherwise, the target is as before.
#[derive(Debug, Error)]
pub enum CopyError {
    /// A database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The target has identities.
    #[error("database {0}: has {1} identities already; the target of a copy must have none")]
    NotEmpty(Location, u64),
    /// A process uses the source.
    #[error(
        "database {0}: {1} uses it, and what changes during the copy would be lost; stop every realmgate process that uses the source"
    )]
    InUse(Location, String),
    /// A database failed.
    #[error("database {0}: {1}; nothing was copied")]
    Failed(Location, Arc<str>),
    /// A text that PostgreSQL cannot store.
    #[error(
        "database {0}: column {1} of identity {2} contains a null character, which PostgreSQL cannot store; nothing was copied"
    )]
    Null(Location, &'static str, i64),
    /// The target does not have the rows that were written to it.
    #[error("database {0}: has other rows than those written to it; nothing was copied")]
    Differs(Location),
    /// The connection was lost during the commit.
    #[error(
        "database {0}: the connection was lost during the commit; run the command without --apply to see whether the identities are there"
    )]
    Unknown(Location),
    /// The file of the target cannot be created.
    #[error("{0}: cannot be written")]
    Write(PathBuf, #[source] io::Error),
}
