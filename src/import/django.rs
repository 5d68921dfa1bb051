use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::auth::UnixTime;

/// The table of ungleich-otp's model: app `otpauth`, model `OTPSeed`.
pub(super) const TABLE: &str = "otpauth_otpseed";
/// The columns that are read, and whether every version of it has them.
const COLUMNS: [(&str, bool); 6] = [
    ("id", true),
    ("name", true),
    ("realm", true),
    ("seed", true),
    ("is_active", false),
    ("date_joined", false),
];
/// The most bytes, or characters, that are read of a text. None that is longer can be used.
pub(super) const TEXT: usize = 1 << 16;

/// A row of the old table. `Debug` does not print the seed.
#[derive(Clone)]
pub struct Row {
    /// Its number.
    pub id: i64,
    /// Its name; none if it is no UTF-8.
    pub name: Option<String>,
    /// Its realm, likewise.
    pub realm: Option<String>,
    /// Its seed in base32, as it was typed.
    pub seed: Zeroizing<String>,
    /// Whether Django's `is_active` allows it; where there is no such column, it does.
    pub active: bool,
    /// When it was registered, if the table says.
    pub created: Option<UnixTime>,
}

/// Why a database was not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("{0}: no such file")]
    NoFile(PathBuf),
    /// The file is something else.
    #[error("{0}: not an SQLite database")]
    NotSqlite(PathBuf),
    /// The system does not let us read it.
    #[error("{0}: cannot be read")]
    File(PathBuf, #[source] io::Error),
    /// It is no regular file, such as a pipe, or something beside it is none.
    #[error("{0}: not a regular file")]
    NotAFile(PathBuf),
    /// A log or a journal beside it belongs to it, and cannot be read without writing.
    #[error(
        "{0}: has a log or a journal (-wal, -journal) that cannot be read without writing beside it (expected a copy made with .backup, or the file and what is beside it in a folder of yours)"
    )]
    Companion(PathBuf),
    /// Somebody wrote to it.
    #[error("{0}: changed while it was read; try again")]
    Changed(PathBuf),
    /// SQLite failed.
    #[error("{0}: cannot be read")]
    Sqlite(PathBuf, #[source] rusqlite::Error),
    /// The server cannot be reached, or refuses.
    #[error("PostgreSQL at {server} cannot be reached")]
    Connect {
        /// Host and port.
        server: String,
        /// Why.
        source: tokio_postgres::Error,
    },
    /// It takes too long.
    #[error("the database could not be read within {} (--timeout allows more)", humantime::format_duration(*.0))]
    Late(Duration),
    /// There are too many rows.
    #[error("the table has more than {0} rows (--max-rows allows more)")]
    TooMany(usize),
    /// No thread, or no event loop.
    #[error("cannot start the reader thread")]
    Start(#[source] io::Error),
    /// The thread that reads has ended without a word.
    #[error("reading stopped unexpectedly")]
    BrokenOff,
    /// A query failed.
    #[error("PostgreSQL failed")]
    Postgres(#[from] tokio_postgres::Error),
    /// It is another application's database.
    #[error("no table {TABLE} (expected the database of an ungleich-otp server)")]
    NoTable,
    /// The table is another one.
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

/// Makes the list of what is selected, in the order of [`Row`]: of each column its expression, or the second
/// one where a version of the table does not have it.
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
