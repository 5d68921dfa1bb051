//! Reads an SQLite file for a copy, and writes one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql, params_from_iter};
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::changes::trim;
use super::open::{MIGRATIONS, SCHEMAS, mark, open_existing};
use super::pool::configure;
use super::rows::count;
use crate::access::{Need, Way};
use crate::atomic_file::AtomicFile;
use crate::copy_error::CopyError;
use crate::folder::lock_folder;
use crate::open_error::OpenError;
use crate::tables::{Before, Kind, RECOUNT, Rows, Table, Target, Value, Visit};

/// A file in a transaction that reads.
pub(crate) struct Snapshot {
    connection: Connection,
    path: PathBuf,
}

impl Snapshot {
    /// Opens an existing database of the latest schema. Needs no key. Also returns the process that
    /// has the database open, if there is one.
    pub(crate) fn open(
        path: &Path,
        timeout: Duration,
    ) -> Result<(Self, Option<String>), CopyError> {
        if !path.try_exists().unwrap_or(true) {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            return Err(OpenError::Missing(path.into()).into());
        }
        // Closing the file would release the locks of a connection of this process.
        let user = user(path);
        let (connection, schema) = open_to_read(path, timeout)?;
        if schema < SCHEMAS {
            return Err(OpenError::TooOld(path.to_owned()).into());
        }
        let this = Self {
            connection,
            path: path.to_owned(),
        };
        // The first read fixes what the transaction sees.
        let begin = this.connection.execute_batch("BEGIN");
        begin.map_err(|error| failed(&this.path, &error))?;
        Ok((this, user))
    }
}

/// The bytes on which SQLite locks a database: <https://www.sqlite.org/lockingv3.html>.
const FIRST_SHARED: u64 = 0x4000_0002;
const SHARED: u64 = 510;

/// Returns the process that has a database open. With a write-ahead log, each connection holds a
/// lock on the file until it is closed.
fn user(path: &Path) -> Option<String> {
    let lock = Flock {
        start: FIRST_SHARED,
        length: SHARED,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    let held = fcntl_getlk(File::open(path).ok()?, &lock).ok()??;
    // A process in another PID namespace has no number here.
    Some(match held.pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    })
}

impl Rows for Snapshot {
    fn each(&mut self, table: &Table, visit: Visit<'_>) -> Result<(), CopyError> {
        each(&self.connection, &self.path, table, visit)
    }

    fn last_number(&mut self) -> Result<i64, CopyError> {
        last_number(&self.connection).map_err(|error| failed(&self.path, &error))
    }
}

/// Inspects the target of a copy. Changes nothing.
pub(crate) fn look_before_copy(path: &Path, timeout: Duration) -> Result<Before, CopyError> {
    if !path.try_exists().unwrap_or(true) {
        return Ok(Before::default());
    }
    let (connection, schema) = open_to_read(path, timeout)?;
    before(&connection, schema).map_err(|error| failed(path, &error))
}

/// A file in a transaction that writes, with all triggers off.
pub(crate) struct CopyTarget {
    connection: Connection,
    path: PathBuf,
    /// The file in which a new database is made.
    new: Option<AtomicFile>,
    /// Keeps other processes from creating the database.
    _alone: File,
}

impl CopyTarget {
    /// Opens a database, or prepares a new one, which appears when it is complete.
    pub(crate) fn open(path: &Path, timeout: Duration) -> Result<(Self, Before), CopyError> {
        let unwritable = |error| CopyError::Write(path.to_owned(), error);
        let alone = lock_folder(path).map_err(unwritable)?;
        let new = match path.try_exists().map_err(unwritable)? {
            true => None,
            false => Some(AtomicFile::beside(path).map_err(unwritable)?),
        };
        let fail = |error: rusqlite::Error| OpenError::Sqlite(path.into(), error);
        let opened = new.as_ref().map_or(path, AtomicFile::path);
        let opened = open_existing(opened, Way::Shared, timeout, fail);
        let (mut connection, schema) = opened.map_err(|it| it.explained(path, Need::Write))?;
        let sql = |error: rusqlite::Error| failed(path, &error);
        let found = before(&connection, schema).map_err(sql)?;
        if found.identities > 0 {
            return Err(CopyError::NotEmpty(path.into(), found.identities));
        }
        // A new file that is not complete is deleted, so it needs no journal.
        let journal = if new.is_none() { "WAL" } else { "MEMORY" };
        connection
            .pragma_update(None, "journal_mode", journal)
            .map_err(sql)?;
        configure(&connection, timeout).map_err(sql)?;
        MIGRATIONS
            .to_latest(&mut connection)
            .map_err(|error| OpenError::Migration(path.into(), error))?;
        mark(&connection).map_err(sql)?;
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
            .map_err(sql)?;
        connection.execute_batch("BEGIN IMMEDIATE").map_err(sql)?;
        // Nobody else writes from here on.
        let found = before(&connection, SCHEMAS).map_err(sql)?;
        let path = path.to_owned();
        let this = Self {
            connection,
            path,
            new,
            _alone: alone,
        };
        Ok((this, found))
    }

    fn failed(&self, error: &rusqlite::Error) -> CopyError {
        failed(&self.path, error)
    }
}

impl Rows for CopyTarget {
    fn each(&mut self, table: &Table, visit: Visit<'_>) -> Result<(), CopyError> {
        each(&self.connection, &self.path, table, visit)
    }

    fn last_number(&mut self) -> Result<i64, CopyError> {
        last_number(&self.connection).map_err(|error| self.failed(&error))
    }
}

impl Target for CopyTarget {
    fn clear(&mut self, table: &Table) -> Result<(), CopyError> {
        let cleared = self
            .connection
            .execute(&format!("DELETE FROM {}", table.name), ());
        cleared.map_err(|error| self.failed(&error)).map(drop)
    }

    fn add(&mut self, table: &Table, rows: Vec<Vec<Value>>) -> Result<(), CopyError> {
        let (name, names) = (table.name, table.names());
        let values = vec!["?"; table.columns.len()].join(", ");
        let sql = format!("INSERT INTO {name} ({names}) VALUES ({values})");
        let insert = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            rows.iter()
                .try_for_each(|row| statement.execute(params_from_iter(row)).map(drop))
        };
        insert().map_err(|error| self.failed(&error))
    }

    fn reserve(&mut self, last: i64) -> Result<(), CopyError> {
        let reserve = || {
            let sql = "DELETE FROM sqlite_sequence WHERE name = 'identity'";
            self.connection.execute(sql, ())?;
            let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES ('identity', ?1)";
            self.connection.execute(sql, (last,))
        };
        reserve().map_err(|error| self.failed(&error)).map(drop)
    }

    fn commit(self: Box<Self>) -> Result<(), CopyError> {
        let commit = || {
            // The triggers that write the change log are off.
            let sql = "INSERT INTO change (name, realm) SELECT name, realm FROM identity";
            self.connection.execute(sql, ())?;
            trim(&self.connection)?;
            for sql in RECOUNT {
                self.connection.execute(&sql.replace("@.", ""), ())?;
            }
            self.connection.execute("DELETE FROM key_missing", ())?;
            self.connection.execute_batch("COMMIT")
        };
        commit().map_err(|error| self.failed(&error))?;
        let Self {
            connection,
            path,
            new,
            ..
        } = *self;
        drop(connection);
        match new {
            Some(new) => new.put().map_err(|error| CopyError::Write(path, error)),
            None => Ok(()),
        }
    }
}

fn open_to_read(path: &Path, timeout: Duration) -> Result<(Connection, i64), CopyError> {
    let fail = |error| OpenError::Sqlite(path.into(), error);
    let opened = open_existing(path, Way::to_copy(path), timeout, fail);
    Ok(opened.map_err(|error| error.explained(path, Need::Read))?)
}

fn before(connection: &Connection, schema: i64) -> rusqlite::Result<Before> {
    if schema == 0 {
        return Ok(Before::default());
    }
    let keys: u64 = connection.query_row("SELECT count(*) FROM sealing_key", (), count)?;
    Ok(Before {
        identities: connection.query_row("SELECT count(*) FROM identity", (), count)?,
        is_in_use: keys > 0,
    })
}

fn each(
    connection: &Connection,
    path: &Path,
    table: &Table,
    visit: Visit<'_>,
) -> Result<(), CopyError> {
    let failed = |error| failed(path, &error);
    let sql = table.select(|name, _| name.to_owned()).replace("@.", "");
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let mut rows = statement.query(()).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        visit(values(row, table).map_err(failed)?)?;
    }
    Ok(())
}

fn values(row: &Row<'_>, table: &Table) -> rusqlite::Result<Vec<Value>> {
    let value = |(at, &(_, kind)): (usize, &(_, Kind))| {
        if row.get_ref(at)? == ValueRef::Null {
            return Ok(Value::Null);
        }
        Ok(match kind {
            Kind::Number => Value::Number(row.get(at)?),
            Kind::Text => Value::Text(row.get(at)?),
            Kind::Bytes => Value::Bytes(row.get(at)?),
        })
    };
    table.columns.iter().enumerate().map(value).collect()
}

fn last_number(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'identity'";
    connection.query_row(sql, (), |row| row.get(0))
}

fn failed(path: &Path, error: &rusqlite::Error) -> CopyError {
    CopyError::Failed(path.into(), Arc::from(error.to_string()))
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Number(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
