//! The database in an SQLite file: one writer and a few readers, all on blocking threads.

mod backup;
mod changes;
mod commit;
mod copy;
mod counters;
mod cutter;
mod database;
mod identities;
mod insert;
mod inspect;
mod keys;
mod lists;
mod loads;
mod missing;
mod open;
mod pool;
mod probe;
mod query;
mod rows;
mod sessions;
mod spent;
mod wal;
mod watch;

pub use backup::{Backup, BackupError, backup};
pub(crate) use copy::{CopyTarget, Snapshot, look_before_copy};
pub(crate) use inspect::inspect;
pub(crate) use open::{expect, open, open_keys};
