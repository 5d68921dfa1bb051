//! The tables of both kinds of databases, row by row, for copies.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::copy_error::CopyError;
use crate::seal::KeyId;

/// The number of rows that are read or written at a time.
pub(super) const PAGE: usize = 1000;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Text,
    Bytes,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A table that both kinds of databases have. In SQL, `@.` stands for the schema.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
    /// The condition for rows to copy.
    only: &'static str,
    order: &'static str,
}

impl Table {
    /// Returns the names of the columns, separated by commas.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// Returns a statement that reads the rows in their order, with `column` applied to each
    /// column.
    pub(super) fn select(&self, column: impl Fn(&str, Kind) -> String) -> String {
        let columns = self.columns.iter().map(|&(name, kind)| column(name, kind));
        let columns: Vec<_> = columns.collect();
        let Self {
            name, only, order, ..
        } = self;
        let columns = columns.join(", ");
        format!("SELECT {columns} FROM @.{name} WHERE {only} ORDER BY {order}")
    }
}

const ALL: &str = "true";
const OF_IDENTITIES: &str = "identity IN (SELECT id FROM @.identity)";

/// The identities, with encrypted seeds.
pub(super) const IDENTITIES: Table = Table {
    name: "identity",
    columns: &[
        ("id", Kind::Number),
        ("name", Kind::Text),
        ("realm", Kind::Text),
        ("seed", Kind::Bytes),
        ("algorithm", Kind::Text),
        ("digits", Kind::Number),
        ("period", Kind::Number),
        ("state", Kind::Text),
        ("created", Kind::Number),
        ("updated", Kind::Number),
        ("previous_seed", Kind::Bytes),
        ("previous_until", Kind::Number),
        ("not_before", Kind::Number),
        ("expires", Kind::Number),
        ("comment", Kind::Text),
        ("pardoned", Kind::Number),
        ("revision", Kind::Number),
        ("seed_made", Kind::Number),
        ("previous_made", Kind::Number),
    ],
    only: ALL,
    order: "id",
};

/// The last uses of identities.
pub(super) const USES: Table = Table {
    name: "identity_use",
    columns: &[
        ("identity", Kind::Number),
        ("used", Kind::Number),
        ("previous_used", Kind::Number),
        ("drift", Kind::Number),
        ("day", Kind::Number),
    ],
    only: OF_IDENTITIES,
    order: "identity",
};

/// Counts the identities and seeds that were copied, for which no trigger has run.
pub(super) const RECOUNT: [&str; 4] = [
    "DELETE FROM @.realm_count",
    "INSERT INTO @.realm_count SELECT realm, count(*), count(*) FILTER (WHERE state = 'disabled')
        FROM @.identity GROUP BY realm",
    "DELETE FROM @.seed_count",
    "INSERT INTO @.seed_count SELECT key, count(*) FROM (
        SELECT substr(seed, 2, 8) AS key FROM @.identity
        UNION ALL SELECT substr(previous_seed, 2, 8) FROM @.identity
            WHERE previous_seed IS NOT NULL) k GROUP BY key",
];

/// The used one-time tokens.
pub(super) const SPENT: Table = Table {
    name: "spent",
    columns: &[("identity", Kind::Number), ("steps", Kind::Bytes)],
    only: OF_IDENTITIES,
    order: "identity",
};

/// The ids of the encryption keys.
pub(super) const KEYS: Table = Table {
    name: "sealing_key",
    columns: &[("id", Kind::Bytes), ("state", Kind::Text)],
    // A rotation that has only announced its key goes on at the source.
    only: "state <> 'announced'",
    order: "id",
};

/// The failures of principals and sources.
pub(super) const FAILURES: Table = Table {
    name: "failure",
    columns: &[
        ("scope", Kind::Text),
        ("tag", Kind::Bytes),
        ("paid", Kind::Number),
        ("failed", Kind::Number),
        ("passed", Kind::Number),
        ("stamp", Kind::Number),
    ],
    only: ALL,
    order: "tag, scope",
};

/// The key of their tags.
pub(super) const THROTTLE_KEY: Table = Table {
    name: "throttle_key",
    columns: &[("key", Kind::Bytes)],
    only: ALL,
    order: "key",
};

/// The number of their last save.
pub(super) const STAMP: Table = Table {
    name: "failure_stamp",
    columns: &[("stamp", Kind::Number)],
    only: ALL,
    order: "stamp",
};

/// A visitor of rows.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Vec<Value>) -> Result<(), CopyError>;

/// A database that does not change while it is read.
pub(super) trait Rows {
    /// Visits the rows of a table in their order.
    fn each(&mut self, table: &Table, visit: Visit<'_>) -> Result<(), CopyError>;

    /// Returns the highest number that an identity has had.
    fn last_number(&mut self) -> Result<i64, CopyError>;
}

/// A database that is written in one transaction. Dropping it before `commit` changes nothing.
pub(super) trait Target: Rows {
    /// Deletes the rows of a table.
    fn clear(&mut self, table: &Table) -> Result<(), CopyError>;

    /// Adds rows. Seeds are not checked for the current key.
    fn add(&mut self, table: &Table, rows: Vec<Vec<Value>>) -> Result<(), CopyError>;

    /// Excludes the numbers up to `last` from assignment to new identities.
    fn reserve(&mut self, last: i64) -> Result<(), CopyError>;

    /// Makes the change durable, and known to every process that has the database open.
    fn commit(self: Box<Self>) -> Result<(), CopyError>;
}

/// The contents of a target before the copy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    pub(super) identities: u64,
    /// Whether a process has ever opened the database. If so, its processes know the key of its
    /// failures, which stays.
    pub(super) is_in_use: bool,
}

/// The encrypted contents of a database in one number.
#[derive(Default)]
pub(super) struct Checksum(Sha256);

impl Checksum {
    pub(super) fn table(&mut self, table: &Table) {
        self.0.update(table.name);
        self.0.update([0]);
    }

    pub(super) fn row(&mut self, row: &[Value]) {
        for value in row {
            match value {
                Value::Null => self.0.update([0]),
                Value::Number(number) => {
                    self.0.update([1]);
                    self.0.update(number.to_be_bytes());
                }
                Value::Text(text) => self.bytes(2, text.as_bytes()),
                Value::Bytes(bytes) => self.bytes(3, bytes),
            }
        }
    }

    pub(super) fn number(&mut self, number: i64) {
        self.row(&[Value::Number(number)]);
    }

    fn bytes(&mut self, kind: u8, bytes: &[u8]) {
        self.0.update([kind]);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    pub(super) fn end(self) -> String {
        HEXLOWER.encode(&self.0.finalize())
    }
}

/// Returns the id of the key in a row of [`KEYS`].
pub(super) fn key_in(row: &[Value]) -> Option<KeyId> {
    match row.first()? {
        Value::Bytes(bytes) => bytes.as_slice().try_into().ok().map(KeyId),
        _ => None,
    }
}
