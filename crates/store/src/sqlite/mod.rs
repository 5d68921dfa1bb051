//! The database in an SQLite file: one writer and a few readers, all on blocking threads.

mod backup;
mod changes;
mod commit;
mod counters;
mod cutter;
mod database;
mod identities;
mod insert;
mod keys;
mod missing;
mod open;
mod pool;
mod probe;
mod rows;
mod wal;
mod watch;

pub use backup::{Backup, BackupError, backup};
pub(crate) use open::{expect, open, open_keys};
