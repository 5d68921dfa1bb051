//! Reads a database on a server for a copy, and writes one.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::log::CHANGES_KEPT;
use super::nodes::NOW;
use super::open::{Prepared, failed, prepare};
use super::pool::{Lease, Purpose};
use super::query::{Parameters, Schema, query};
use super::schema::{Found, KNOWN, Migration};
use super::server::Server;
use super::transaction::DURABLE;
use crate::copy_error::CopyError;
use crate::location::Location;
use crate::open_error::OpenError;
use crate::tables::{Before, Kind, PAGE, RECOUNT, Rows, Table, Target, Value, Visit};
use realmgate_core::{SeenNode, StoreError};

/// The maximum duration of a statement. The first waits for other writers.
const STATEMENT: Duration = Duration::from_secs(120);

/// A transaction on a connection of its own.
struct Transaction {
    runtime: Runtime,
    lease: Option<Lease>,
    schema: Schema,
    location: Location,
}

impl Transaction {
    /// Connects, and begins with `begin` after the database was prepared.
    fn begin(
        server: &Server,
        timeout: Duration,
        begin: &str,
        prepared: impl AsyncFnOnce(&Prepared) -> Result<(), CopyError>,
    ) -> Result<Self, CopyError> {
        let runtime = runtime()?;
        let location = server.location();
        let begun = runtime.block_on(async {
            let opened = prepare(server.clone(), timeout).await?;
            prepared(&opened).await?;
            let lease = opened.pools.lease(Purpose::Request).await;
            let lease = lease.map_err(|fault| failed(&location, fault))?;
            Ok::<_, CopyError>((lease, opened.schema))
        });
        let (lease, schema) = begun?;
        let this = Self {
            runtime,
            lease: Some(lease),
            schema,
            location,
        };
        let limit = STATEMENT.as_millis();
        this.batch(&format!(
            "BEGIN ISOLATION LEVEL {begin}; SET LOCAL statement_timeout = {limit};
             SET LOCAL lock_timeout = {limit}; SET LOCAL idle_in_transaction_session_timeout = {limit}"
        ))?;
        Ok(this)
    }

    fn failed(&self, fault: Fault) -> CopyError {
        let text = StoreError::from(fault).to_string();
        CopyError::Failed(self.location.clone(), text.into())
    }

    fn run<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, CopyError> {
        let work = async {
            let done = tokio::time::timeout(STATEMENT * 2, work).await;
            done.map_err(|_| Fault::Timeout)?
        };
        let done = self.runtime.block_on(work);
        done.map_err(|fault| self.failed(fault))
    }

    fn batch(&self, sql: &str) -> Result<(), CopyError> {
        let sql = self.schema.sql(sql);
        self.run(async {
            let lease = self.lease.as_ref().ok_or(Fault::Closed)?;
            Ok(lease.client()?.batch_execute(&sql).await?)
        })
    }

    fn rows(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, CopyError> {
        let sql = self.schema.sql(sql);
        self.run(async {
            let lease = self.lease.as_ref().ok_or(Fault::Closed)?;
            Ok(lease.client()?.query_typed(&sql, parameters).await?)
        })
    }

    fn number(&self, sql: &str) -> Result<i64, CopyError> {
        let rows = self.rows(sql, &[])?;
        let read = || Ok(rows.first().ok_or(Fault::Closed)?.try_get(0)?);
        read().map_err(|fault| self.failed(fault))
    }

    /// Returns a node that serves on the database.
    fn user(&self) -> Result<Option<String>, CopyError> {
        let longest = SeenNode::MISSING.as_millis();
        let sql = format!(
            "SELECT name FROM @.node WHERE {NOW} - seen <= {longest} ORDER BY seen DESC LIMIT 1"
        );
        let rows = self.rows(&sql, &[])?;
        let name = rows.first().map(|row| row.try_get::<_, String>(0));
        let name = name
            .transpose()
            .map_err(|error| self.failed(error.into()))?;
        Ok(name.map(|name| format!("node {name:?}")))
    }

    fn before(&self) -> Result<Before, CopyError> {
        let keys = self.number(KEYS)?;
        Ok(Before {
            identities: self.number(IDENTITIES)?.unsigned_abs(),
            is_in_use: keys > 0,
        })
    }
}

const KEYS: &str = "SELECT count(*) FROM @.sealing_key";
const IDENTITIES: &str = "SELECT count(*) FROM @.identity";

impl Rows for Transaction {
    fn each(&mut self, table: &Table, visit: Visit<'_>) -> Result<(), CopyError> {
        let select = table.select(|name, kind| format!("{name}::{}", type_of(kind)));
        self.batch(&format!("DECLARE copy NO SCROLL CURSOR FOR {select}"))?;
        let fetch = format!("FETCH {PAGE} FROM copy");
        loop {
            let rows = self.rows(&fetch, &[])?;
            for row in &rows {
                let row = values(row, table).map_err(|fault| self.failed(fault))?;
                visit(row)?;
            }
            if rows.len() < PAGE {
                return self.batch("CLOSE copy");
            }
        }
    }

    fn last_number(&mut self) -> Result<i64, CopyError> {
        self.number(
            "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END
                FROM @.identity_number",
        )
    }
}

/// A database in a transaction that reads.
pub(crate) struct Snapshot(Transaction);

impl Snapshot {
    /// Opens an existing database of the latest schema. Needs no key. Also returns the node that
    /// serves on the database, if there is one.
    pub(crate) fn open(
        server: &Server,
        timeout: Duration,
    ) -> Result<(Self, Option<String>), CopyError> {
        let exists = async |prepared: &Prepared| {
            let location = server.location();
            match prepared.found.version {
                0 => Err(OpenError::Missing(location).into()),
                KNOWN => Ok(()),
                found if found > KNOWN => Err(too_new(location, found)),
                _ => {
                    let text = "has the schema of an earlier version; run `realmgate identity list` with it first";
                    Err(OpenError::Unfit(location, text.into()).into())
                }
            }
        };
        let begun = Transaction::begin(server, timeout, "REPEATABLE READ READ ONLY", exists)?;
        let user = begun.user()?;
        Ok((Self(begun), user))
    }
}

impl Rows for Snapshot {
    fn each(&mut self, table: &Table, visit: Visit<'_>) -> Result<(), CopyError> {
        self.0.each(table, visit)
    }

    fn last_number(&mut self) -> Result<i64, CopyError> {
        self.0.last_number()
    }
}

/// Inspects the target of a copy. Changes nothing.
pub(crate) fn look_before_copy(server: &Server, timeout: Duration) -> Result<Before, CopyError> {
    let location = server.location();
    runtime()?.block_on(async {
        let prepared = prepare(server.clone(), timeout).await?;
        let Prepared {
            pools,
            schema,
            found: Found { version, .. },
        } = prepared;
        if version > KNOWN {
            return Err(too_new(location, version));
        }
        if version == 0 {
            return Ok(Before::default());
        }
        let count = async |sql: &str| {
            let sql = schema.sql(sql);
            let rows = query(&pools, Purpose::Request, &sql, &[]).await?;
            let count: i64 = rows.first().ok_or(Fault::Closed)?.try_get(0)?;
            Ok::<_, Fault>(count.unsigned_abs())
        };
        let count = async |sql| count(sql).await.map_err(|fault| failed(&location, fault));
        Ok(Before {
            identities: count(IDENTITIES).await?,
            is_in_use: count(KEYS).await? > 0,
        })
    })
}

/// A database in a transaction that writes.
pub(crate) struct CopyTarget(Transaction);

impl CopyTarget {
    /// Opens a database, and creates its tables if there are none.
    pub(crate) fn open(server: &Server, timeout: Duration) -> Result<(Self, Before), CopyError> {
        let migrated = async |prepared: &Prepared| {
            let version = prepared.found.version;
            if version > KNOWN {
                return Err(too_new(server.location(), version));
            }
            let migrate = async {
                let migration = Migration::run(&prepared.pools, &prepared.schema).await?;
                migration.commit().await
            };
            let migrated = migrate.await;
            Ok(migrated.map_err(|fault| failed(&server.location(), fault))?)
        };
        let this = Self(Transaction::begin(
            server,
            timeout,
            "READ COMMITTED",
            migrated,
        )?);
        // The copied seeds may be encrypted with another key than the current one, or be broken.
        let sql = format!(
            "SELECT @.begin_change(), {DURABLE};
             ALTER TABLE @.identity DISABLE TRIGGER identity_sealed;
             ALTER TABLE @.identity DISABLE TRIGGER identity_use_begins;
             ALTER TABLE @.identity DISABLE TRIGGER identity_added"
        );
        this.0.batch(&sql)?;
        let before = this.0.before()?;
        Ok((this, before))
    }
}

impl Rows for CopyTarget {
    fn each(&mut self, table: &Table, visit: Visit<'_>) -> Result<(), CopyError> {
        self.0.each(table, visit)
    }

    fn last_number(&mut self) -> Result<i64, CopyError> {
        self.0.last_number()
    }
}

impl Target for CopyTarget {
    fn clear(&mut self, table: &Table) -> Result<(), CopyError> {
        self.0.batch(&format!("DELETE FROM @.{}", table.name))
    }

    fn add(&mut self, table: &Table, rows: Vec<Vec<Value>>) -> Result<(), CopyError> {
        let mut columns: Vec<_> = table.columns.iter().map(|it| Column::of(it.1)).collect();
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let arrays: Vec<_> = (1..)
            .zip(table.columns)
            .map(|(at, (_, kind))| format!("${at}::{}[]", type_of(*kind)))
            .collect();
        let (name, names, arrays) = (table.name, table.names(), arrays.join(", "));
        let sql = format!("INSERT INTO @.{name} ({names}) SELECT * FROM unnest({arrays})");
        let parameters: Vec<_> = columns.iter().map(Column::parameter).collect();
        self.0.rows(&sql, &parameters).map(drop)
    }

    fn reserve(&mut self, last: i64) -> Result<(), CopyError> {
        let sql = "SELECT pg_catalog.setval('@.identity_number', greatest($1, 1), $1 > 0)";
        self.0.rows(sql, &[(&last, Type::INT8)]).map(drop)
    }

    fn commit(mut self: Box<Self>) -> Result<(), CopyError> {
        let transaction = &mut self.0;
        let sql = "ALTER TABLE @.identity ENABLE TRIGGER identity_sealed;
            ALTER TABLE @.identity ENABLE TRIGGER identity_use_begins;
            ALTER TABLE @.identity ENABLE TRIGGER identity_added;
            DELETE FROM @.key_missing";
        transaction.batch(sql)?;
        for sql in RECOUNT {
            transaction.batch(sql)?;
        }
        transaction.batch(&format!(
            "DELETE FROM @.change WHERE seq <= (SELECT max(seq) FROM @.change) - {CHANGES_KEPT}"
        ))?;
        match transaction.batch("COMMIT") {
            Ok(()) => {
                if let Some(lease) = transaction.lease.take() {
                    lease.put_back();
                }
                Ok(())
            }
            Err(_) => Err(CopyError::Unknown(transaction.location.clone())),
        }
    }
}

/// The values of a column.
enum Column {
    Numbers(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Column {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Number => Self::Numbers(Vec::new()),
            Kind::Text => Self::Texts(Vec::new()),
            Kind::Bytes => Self::Bytes(Vec::new()),
        }
    }

    fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Numbers(all), Value::Number(it)) => all.push(Some(it)),
            (Self::Texts(all), Value::Text(it)) => all.push(Some(it)),
            (Self::Bytes(all), Value::Bytes(it)) => all.push(Some(it)),
            (Self::Numbers(all), _) => all.push(None),
            (Self::Texts(all), _) => all.push(None),
            (Self::Bytes(all), _) => all.push(None),
        }
    }

    fn parameter(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Numbers(all) => (all, Type::INT8_ARRAY),
            Self::Texts(all) => (all, Type::TEXT_ARRAY),
            Self::Bytes(all) => (all, Type::BYTEA_ARRAY),
        }
    }
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "bigint",
        Kind::Text => "text",
        Kind::Bytes => "bytea",
    }
}

fn values(row: &Row, table: &Table) -> Result<Vec<Value>, Fault> {
    let value = |(at, &(_, kind)): (usize, &(_, Kind))| {
        Ok(match kind {
            Kind::Number => row.try_get::<_, Option<_>>(at)?.map(Value::Number),
            Kind::Text => row.try_get::<_, Option<_>>(at)?.map(Value::Text),
            Kind::Bytes => row.try_get::<_, Option<_>>(at)?.map(Value::Bytes),
        }
        .unwrap_or(Value::Null))
    };
    table.columns.iter().enumerate().map(value).collect()
}

fn too_new(path: Location, found: i64) -> CopyError {
    let known = KNOWN;
    OpenError::TooNew { path, found, known }.into()
}

fn runtime() -> Result<Runtime, CopyError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|_| OpenError::Store(StoreError::Closed))?)
}
