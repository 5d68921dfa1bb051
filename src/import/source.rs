use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use super::django::ReadError;
use super::rows::Rows;
use super::{postgres, sqlite};

/// The socket directory of Debian's PostgreSQL, for URLs without a host.
const SOCKETS: &str = "/var/run/postgresql";

/// The database of an ungleich-otp server.
#[derive(Clone)]
pub enum Source {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<tokio_postgres::Config>),
}

/// Why a source is invalid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SourceError {
    /// The URL has another scheme.
    #[error(
        "unsupported kind of database (expected an SQLite file or postgres://USER@HOST[:PORT]/DATABASE)"
    )]
    Kind,
    /// The URL is malformed. It may contain a password, so the error does not show it.
    #[error(
        "the URL cannot be read (expected postgres://USER@HOST[:PORT]/DATABASE, other characters than letters and digits percent-encoded; sslmode is disable, prefer or require)"
    )]
    Url,
}

impl FromStr for Source {
    type Err = SourceError;

    /// Parses a path, `sqlite:PATH`, `sqlite:///PATH`, or a `postgres://` or `postgresql://` URL.
    /// If the URL has no password, `PGPASSWORD` is used.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let mut config: tokio_postgres::Config = text.parse().map_err(|_| SourceError::Url)?;
            if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
                config.host_path(SOCKETS);
            }
            return Ok(Self::Postgres(Box::new(config)));
        }
        // Otherwise the text would be a file name, and the error would show the password.
        if text.starts_with("postgres:") || text.contains("password=") {
            return Err(SourceError::Kind);
        }
        let path = match text.strip_prefix("sqlite:") {
            // Django's form: the third slash ends the empty host.
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
    /// Reads all rows in one read-only transaction, in any order.
    pub(super) fn select(&self, rows: &mut Rows) -> Result<(), ReadError> {
        match self {
            Self::Sqlite(path) => sqlite::read(path, rows),
            Self::Postgres(config) => postgres::read(config, rows),
        }
    }
}

/// Hides the URL, which may contain a password.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio_postgres::config::Host;

    use super::*;

    #[test]
    fn files_and_urls_are_distinguished() {
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
    fn url_of_another_database_is_rejected_and_never_shown() {
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
