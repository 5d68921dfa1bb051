use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::django::{ReadError, Row, TABLE, TEXT, columns};
use super::rows::Rows;
use crate::auth::UnixTime;

/// How long to wait for a writer, such as the old server.
const BUSY: Duration = Duration::from_secs(5);

/// What may stand in the path of an SQLite URI as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');

/// The most memory that SQLite may take, whatever a view of the file sorts.
const HEAP: i64 = 256 << 20;
/// The longest text and the longest row.
const LENGTH: i32 = 1 << 20;

/// Reads the rows of a file. Nothing is written to it, and nothing made beside it but the index (`-shm`)
/// that SQLite needs where a log is.
pub(super) fn read(path: &Path, rows: &mut Rows) -> Result<(), ReadError> {
    let still = is_still(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::NoFile(path.to_owned()),
        _ => ReadError::File(path.to_owned(), error),
    })?;
    for beside in ["", "-wal", "-shm", "-journal"].map(|end| beside(path, end)) {
        // SQLite opens them, and would wait for whoever writes into a pipe.
        if std::fs::metadata(&beside).is_ok_and(|it| !it.is_file()) {
            return Err(ReadError::NotAFile(beside));
        }
    }
    select(path, still.is_some(), rows).map_err(|error| match error {
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
    Ok(())
}

/// Returns the size and the date of a file that is in WAL mode and has no log, so that no process has it
/// open. SQLite would make a log beside it, even only to read.
fn is_still(path: &Path) -> io::Result<Option<(u64, SystemTime)>> {
    let mut options = File::options();
    // A pipe that nobody writes into is opened all the same, and is no file.
    let mut file = options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    // https://www.sqlite.org/fileformat2.html#the_database_header: bytes 18 and 19 are 2 in WAL mode.
    let mut head = Vec::new();
    file.by_ref().take(20).read_to_end(&mut head)?;
    let in_wal_mode = head.ends_with(&[2, 2]) && head.len() == 20;
    if !in_wal_mode || beside(path, "-wal").try_exists()? {
        return Ok(None);
    }
    Ok(Some((metadata.len(), metadata.modified()?)))
}

/// Returns the path of a file whose name goes on with `end`.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut beside = OsString::from(path);
    beside.push(end);
    beside.into()
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

fn select(path: &Path, still: bool, rows: &mut Rows) -> Result<(), Failure> {
    let mut connection = open(path, still)?;
    connection.busy_timeout(BUSY)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LENGTH)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // What a view sorts goes to no file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update_and_check(None, "hard_heap_limit", HEAP, |_| Ok(()))?;
    let snapshot = connection.transaction()?;
    let present: Vec<String> = snapshot
        .prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map((TABLE,), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    // SQLite keeps what was written, whatever the column's type: a name may be a number or bytes.
    let text = |name| format!("substr(CAST({name} AS BLOB), 1, {TEXT})");
    let columns = columns(
        &present,
        [
            ("id", ""),
            (&text("name"), ""),
            (&text("realm"), ""),
            (&text("seed"), ""),
            ("CAST(is_active AS INTEGER)", "NULL"),
            ("CAST(strftime('%s', date_joined) AS INTEGER)", "NULL"),
        ],
    )
    .map_err(Failure::Read)?;
    let mut statement = snapshot.prepare(&format!("SELECT {columns} FROM {TABLE}"))?;
    let mut found = statement.query(())?;
    while let Some(row) = found.next()? {
        if !rows.push(read_row(row)?) {
            break;
        }
    }
    Ok(())
}

fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
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
}
