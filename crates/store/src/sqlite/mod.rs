//! The database in an SQLite file: one writer and a few readers, all on blocking threads.

mod backup;
mod changes;
mod commit;
mod counters;
mod cutter;
mod database;
mod folder;
mod identities;
mod insert;
mod open;
mod pool;
mod probe;
mod rotation;
mod rows;
mod sealing;
mod wal;
mod watch;

pub use backup::{Backup, BackupError, backup};
pub use open::{Intent, OpenError, Options, expect, open};
pub use rotation::{Progress, Rotated};
pub use sealing::{Broken, KeyRole, KeyUse, List, Sealing, SealingError};
