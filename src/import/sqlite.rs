use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use zeroize::Zeroizing;

use super::django::{ReadError, Row, TABLE, columns};
use crate::auth::UnixTime;

/// How long to wait for a writer, such as the old server.
const BUSY: Duration = Duration::from_secs(5);

/// What may stand in the path of an SQLite URI as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');

/// Reads the rows of a file. Nothing is written to it, and nothing made beside it but the index (`-shm`)
/// that SQLite needs where a log is.
pub(super) fn read(path: &Path) -> Result<Vec<Row>, ReadError> {
    let still = is_still(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::NoFile(path.to_owned()),
        _ => ReadError::File(path.to_owned(), error),
    })?;
    let rows = select(path, still.is_some()).map_err(|error| match error {
        Failure::Read(error) => error,
        Failure::Sql(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => ReadError::NotSqlite(path.to_owned()),
            // What it would write is an index of the log, or what a journal takes back.
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
                ReadError::Companion(path.to_owned())
            }
            _ => ReadError::Sqlite(path.to_owned(), error),
        },
    })?;
    if still.is_some() && is_still(path).ok() != Some(still) {
        return Err(ReadError::Changed(path.to_owned()));
    }
    Ok(rows)
}

/// Returns the size and the date of a file that is in WAL mode and has no log, so that no process has it
/// open. SQLite would make a log beside it, even only to read.
fn is_still(path: &Path) -> io::Result<Option<(u64, SystemTime)>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // https://www.sqlite.org/fileformat2.html#the_database_header: bytes 18 and 19 are 2 in WAL mode.
    let mut head = Vec::new();
    file.by_ref().take(20).read_to_end(&mut head)?;
    let in_wal_mode = head.ends_with(&[2, 2]) && head.len() == 20;
    if !in_wal_mode || log_of(path).try_exists()? {
        return Ok(None);
    }
    Ok(Some((metadata.len(), metadata.modified()?)))
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = OsString::from(path);
    log.push("-wal");
    log.into()
}

enum Failure {
    Read(ReadError),
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

fn open(path: &Path, still: bool) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !still {
        return Connection::open_with_flags(path, flags);
    }
    let path = percent_encode(path.as_os_str().as_bytes(), IN_PATH);
    let uri = format!("file:{path}?immutable=1");
    Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
}

fn select(path: &Path, still: bool) -> Result<Vec<Row>, Failure> {
    let mut connection = open(path, still)?;
    connection.busy_timeout(BUSY)?;
    let snapshot = connection.transaction()?;
    let present: Vec<String> = snapshot
        .prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map((TABLE,), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let columns = columns(
        &present,
        "CAST(is_active AS INTEGER)",
        "CAST(strftime('%s', date_joined) AS INTEGER)",
    )
    .map_err(Failure::Read)?;
    // SQLite keeps what was written, whatever the column's type: a name may be a number or bytes.
    let columns = ["name", "realm", "seed"]
        .into_iter()
        .fold(columns, |columns, name| {
            columns.replacen(&format!(" {name},"), &format!(" CAST({name} AS BLOB),"), 1)
        });
    let mut statement = snapshot.prepare(&format!("SELECT {columns} FROM {TABLE} ORDER BY id"))?;
    let rows = statement.query_map((), |row| {
        let text = |index| -> rusqlite::Result<Option<String>> {
            let bytes: Option<Vec<u8>> = row.get(index)?;
            Ok(String::from_utf8(bytes.unwrap_or_default()).ok())
        };
        Ok(Row {
            id: row.get(0)?,
            name: text(1)?,
            realm: text(2)?,
            // What is no UTF-8 is no base32 either.
            seed: Zeroizing::new(text(3)?.unwrap_or_else(|| "\u{fffd}".to_owned())),
            active: row.get::<_, Option<i64>>(4)? != Some(0),
            created: row
                .get::<_, Option<i64>>(5)?
                .and_then(|secs| u64::try_from(secs).ok())
                .map(UnixTime::from_secs),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
