use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::auth::UnixTime;

/// The table of ungleich-otp: Django app `otpauth`, model `OTPSeed`.
pub(super) const TABLE: &str = "otpauth_otpseed";
/// The columns that are read, and whether every version of the table has them.
const COLUMNS: [(&str, bool); 6] = [
    ("id", true),
    ("name", true),
    ("realm", true),
    ("seed", true),
    ("is_active", false),
    ("date_joined", false),
];
/// The maximum length of a text that is read, in bytes or characters. Longer texts are never valid.
pub(super) const TEXT: usize = 1 << 16;

/// A row of the table. `Debug` does not print the seed.
#[derive(Clone)]
pub struct Row {
    /// The primary key.
    pub id: i64,
    /// The name; `None` if it is not UTF-8.
    pub name: Option<String>,
    /// The realm; `None` if it is not UTF-8.
    pub realm: Option<String>,
    /// The seed in base32, unchecked.
    pub seed: Zeroizing<String>,
    /// Django's `is_active`; true if the table has no such column.
    pub active: bool,
    /// The registration date, if the table has one.
    pub created: Option<UnixTime>,
}

/// Why a database cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("{0}: no such file")]
    NoFile(PathBuf),
    /// The file is not an SQLite database.
    #[error("{0}: not an SQLite database")]
    NotSqlite(PathBuf),
    /// The file cannot be opened or read.
    #[error("{0}: cannot be read")]
    File(PathBuf, #[source] io::Error),
    /// The file, or one beside it, is not a regular file but, for example, a pipe.
    #[error("{0}: not a regular file")]
    NotAFile(PathBuf),
    /// A log or a journal belongs to the file, and reading it would require writing.
    #[error(
        "{0}: has a log or a journal (-wal, -journal) that cannot be read without writing to its directory (use a copy made with .backup, or copy the file with its -wal and -journal to a directory that you may write to)"
    )]
    Companion(PathBuf),
    /// Another process changed the file.
    #[error("{0}: changed while it was read; try again")]
    Changed(PathBuf),
    /// SQLite failed.
    #[error("{0}: cannot be read")]
    Sqlite(PathBuf, #[source] rusqlite::Error),
    /// The server cannot be reached, or rejects the connection.
    #[error("PostgreSQL at {server} cannot be reached")]
    Connect {
        /// Host and port.
        server: String,
        /// The cause.
        source: tokio_postgres::Error,
    },
    /// The time limit was exceeded.
    #[error("the database could not be read within {} (--timeout allows more)", humantime::format_duration(*.0))]
    Late(Duration),
    /// The row limit was exceeded.
    #[error("the table has more than {0} rows (--max-rows allows more)")]
    TooMany(usize),
    /// The thread or its event loop cannot be started.
    #[error("cannot start the reader thread")]
    Start(#[source] io::Error),
    /// The reading thread ended without a result.
    #[error("reading stopped unexpectedly")]
    BrokenOff,
    /// A query failed.
    #[error("PostgreSQL failed")]
    Postgres(#[from] tokio_postgres::Error),
    /// The database belongs to another application.
    #[error("no table {TABLE} (expected the database of an ungleich-otp server)")]
    NoTable,
    /// The table lacks a required column.
    #[error("table {TABLE} has no column {0:?} (expected id, name, realm and seed)")]
    NoColumn(&'static str),
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

/// Returns the SELECT list in the order of [`Row`]. Of each pair of expressions, the second is used
/// if the table has no such column.
pub(super) fn columns(
    present: &[String],
    expressions: [(&str, &str); 6],
) -> Result<String, ReadError> {
    if present.is_empty() {
        return Err(ReadError::NoTable);
    }
    let mut list = Vec::new();
    for ((column, is_needed), (expression, without)) in COLUMNS.into_iter().zip(expressions) {
        if present.iter().any(|it| it == column) {
            list.push(expression);
        } else if is_needed {
            return Err(ReadError::NoColumn(column));
        } else {
            list.push(without);
        }
    }
    Ok(list.join(", "))
}
