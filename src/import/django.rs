use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

use super::reading::Rows;
use super::{postgres, sqlite};
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

/// Where Debian's PostgreSQL listens: a URL without a host means this machine.
const SOCKETS: &str = "/var/run/postgresql";

/// A Django database of ungleich-otp.
#[derive(Clone)]
pub enum Source {
    /// A file of SQLite's.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<tokio_postgres::Config>),
}

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

/// Why a text names no database.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SourceError {
    /// A URL of another kind.
    #[error(
        "this kind of database is not read (expected a file of SQLite's or postgres://USER@HOST[:PORT]/DATABASE)"
    )]
    Kind,
    /// A URL that cannot be read. It may hold a password, so it is not shown.
    #[error(
        "the URL cannot be read (expected postgres://USER@HOST[:PORT]/DATABASE, other characters than letters and digits percent-encoded; sslmode is disable, prefer or require)"
    )]
    Url,
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
    #[error("{0}: is no regular file")]
    NotAFile(PathBuf),
    /// A log or a journal beside it belongs to it, and cannot be read without writing.
    #[error(
        "{0}: has a log or a journal (-wal, -journal) that cannot be read without writing beside it (expected a copy made with .backup, or the file and what is beside it in a folder of yours)"
    )]
    Companion(PathBuf),
    /// Somebody wrote to it.
    #[error("{0}: was changed while it was read, try again")]
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
    #[error("the database was not read within {} (--timeout allows more)", humantime::format_duration(*.0))]
    Late(Duration),
    /// There are too many rows.
    #[error("the table has more than {0} rows (--max-rows allows more)")]
    TooMany(usize),
    /// No thread, or no event loop.
    #[error("the reading cannot be started")]
    Start(#[source] io::Error),
    /// The thread that reads has ended without a word.
    #[error("the reading broke off")]
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

impl FromStr for Source {
    type Err = SourceError;

    /// Reads a path, `sqlite:PATH`, `sqlite:///PATH`, or a `postgres://` or `postgresql://` URL. A
    /// password is taken from `PGPASSWORD` if the URL has none.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let mut config: tokio_postgres::Config = text.parse().map_err(|_| SourceError::Url)?;
            if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
                config.host_path(SOCKETS);
            }
            return Ok(Self::Postgres(Box::new(config)));
        }
        // It may hold a password, which an error about a missing file would show.
        if text.starts_with("postgres:") || text.contains("password=") {
            return Err(SourceError::Kind);
        }
        let path = match text.strip_prefix("sqlite:") {
            // Django's form: a third slash ends the empty host.
            Some(rest) => rest.strip_prefix("///").map_or(rest, |path| {
                if path.starts_with('/') {
                    path
                } else {
                    rest.trim_start_matches("//")
                }
            }),
            None if text.contains("://") => return Err(SourceError::Kind),
            None => text,
        };
        if path.is_empty() {
            return Err(SourceError::Kind);
        }
        Ok(Self::Sqlite(path.into()))
    }
}

impl Source {
    /// Reads every row, in whatever order, in one transaction that writes nothing.
    pub(super) fn select(&self, rows: &mut Rows) -> Result<(), ReadError> {
        match self {
            Self::Sqlite(path) => sqlite::read(path, rows),
            Self::Postgres(config) => postgres::read(config, rows),
        }
    }
}

/// Shows no password.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(..)"),
        }
    }
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio_postgres::config::Host;

    use super::*;

    #[test]
    fn files_and_urls_are_told_apart() {
        for (text, expected) in [
            ("db.sqlite3", "db.sqlite3"),
            ("/srv/db.sqlite3", "/srv/db.sqlite3"),
            ("sqlite:db.sqlite3", "db.sqlite3"),
            ("sqlite:/srv/db.sqlite3", "/srv/db.sqlite3"),
            ("sqlite:////srv/db.sqlite3", "/srv/db.sqlite3"),
            ("sqlite:///srv/db.sqlite3", "/srv/db.sqlite3"),
        ] {
            match text.parse() {
                Ok(Source::Sqlite(path)) => assert_eq!(path, Path::new(expected), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for text in [
            "postgres://u:p@h/d",
            "postgresql://h:5433/d?sslmode=require",
        ] {
            assert!(matches!(text.parse(), Ok(Source::Postgres(_))), "{text}");
        }
    }

    #[test]
    fn url_without_a_host_means_the_socket_of_this_machine() {
        let Ok(Source::Postgres(config)) = "postgres:///otp".parse() else {
            panic!("a URL of PostgreSQL's");
        };
        assert_eq!(config.get_hosts(), [Host::Unix(SOCKETS.into())]);
    }

    #[test]
    fn url_of_another_database_is_refused_and_never_shown() {
        for (text, error) in [
            ("mysql://u:secret@h/d", SourceError::Kind),
            ("postgres:u:secret@h/d", SourceError::Kind),
            ("host=h user=u password=secret", SourceError::Kind),
            ("", SourceError::Kind),
            ("postgres://u:secret@h:port/d", SourceError::Url),
            ("postgres://u:secret@h/d?sslmode=verify", SourceError::Url),
        ] {
            let refused = text.parse::<Source>().unwrap_err();
            assert_eq!(refused, error, "{text}");
            assert!(!refused.to_string().contains("secret"));
        }
        let source: Source = "postgres://u:secret@h/d".parse().unwrap();
        assert!(!format!("{source:?}").contains("secret"));
    }
}
