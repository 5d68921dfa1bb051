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

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// The characters that need no encoding in the path of an SQLite URI.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');

/// The maximum memory of SQLite in bytes; a view in the file could sort any amount.
const HEAP: i64 = 256 << 20;
/// The maximum length of a text and of a row in bytes.
const LENGTH: i32 = 1 << 20;

/// Reads the rows of a file. Writes nothing, except for the index (`-shm`) that SQLite needs beside
/// a log.
pub(super) fn read(path: &Path, rows: &mut Rows) -> Result<(), ReadError> {
    let still = is_still(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::NoFile(path.to_owned()),
        _ => ReadError::File(path.to_owned(), error),
    })?;
    for beside in ["", "-wal", "-shm", "-journal"].map(|end| beside(path, end)) {
        // SQLite would open these files and hang on a pipe.
        if std::fs::metadata(&beside).is_ok_and(|it| !it.is_file()) {
            return Err(ReadError::NotAFile(beside));
        }
    }
    select(path, still.is_some(), rows).map_err(|error| match error {
        Failure::Read(error) => error,
        Failure::Sql(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => ReadError::NotSqlite(path.to_owned()),
            // SQLite would have to write an index, or roll back a journal.
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

/// Returns size and modification time of a file in WAL mode without a log. No process has such a
/// file open, but SQLite would create a log even to read it.
fn is_still(path: &Path) -> io::Result<Option<(u64, SystemTime)>> {
    let mut options = File::options();
    // NONBLOCK, so that opening a pipe without a writer does not hang.
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
    // Bytes 18 and 19 are 2 in WAL mode:
    // https://www.sqlite.org/fileformat2.html#the_database_header
    let mut head = Vec::new();
    file.by_ref().take(20).read_to_end(&mut head)?;
    let in_wal_mode = head.ends_with(&[2, 2]) && head.len() == 20;
    if !in_wal_mode || beside(path, "-wal").try_exists()? {
        return Ok(None);
    }
    Ok(Some((metadata.len(), metadata.modified()?)))
}

/// Appends `end` to the file name of a path.
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
    // Sorting in a view must not create temporary files.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update_and_check(None, "hard_heap_limit", HEAP, |_| Ok(()))?;
    let snapshot = connection.transaction()?;
    let present: Vec<String> = snapshot
        .prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map((TABLE,), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    // SQLite columns may contain values of any type, so a name may be a number or a blob.
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
        // A value that is not UTF-8 is not base32 either.
        seed: Zeroizing::new(text(3)?.unwrap_or_else(|| "\u{fffd}".to_owned())),
        active: row.get::<_, Option<i64>>(4)? != Some(0),
        created: row
            .get::<_, Option<i64>>(5)?
            .and_then(|secs| u64::try_from(secs).ok())
            .map(UnixTime::from_secs),
    })
}
