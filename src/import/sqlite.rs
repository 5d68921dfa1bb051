use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use zeroize::Zeroizing;

use super::django::{ReadError, Row, TABLE, columns};
use crate::auth::UnixTime;

/// How long to wait for a writer, such as the old server.
const BUSY: Duration = Duration::from_secs(5);

/// Reads the rows of a file. It is opened for reading only.
pub(super) fn read(path: &Path) -> Result<Vec<Row>, ReadError> {
    if !path.is_file() {
        return Err(ReadError::NoFile(path.to_owned()));
    }
    select(path).map_err(|error| match error {
        Failure::Read(error) => error,
        Failure::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            ReadError::NotSqlite(path.to_owned())
        }
        Failure::Sql(error) => ReadError::Sqlite(path.to_owned(), error),
    })
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

fn select(path: &Path) -> Result<Vec<Row>, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
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
            seed: Zeroizing::new(text(3)?.unwrap_or_default()),
            active: row.get::<_, Option<i64>>(4)? != Some(0),
            created: row
                .get::<_, Option<i64>>(5)?
                .and_then(|secs| u64::try_from(secs).ok())
                .map(UnixTime::from_secs),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
