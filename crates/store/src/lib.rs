//! Where identities live: SQLite ([`sqlite`]) behind a cache ([`cache`]), seeds sealed ([`seal`]).

mod access;
mod asked;
mod backup;
mod cache;
mod changes;
mod commit;
mod database;
mod draft;
mod figures;
mod guard;
mod key_file;
mod open;
mod outage;
mod pool;
mod ring;
mod rotation;
mod rows;
mod seal;
mod sealing;
mod sqlite;
mod wal;
mod watch;

pub use access::Need;
pub use backup::{Backup, BackupError, backup};
pub use cache::{CacheOptions, Cached};
pub use figures::{CacheFigures, Figures, Observer, Operation};
pub use key_file::{KeyFileError, Keys};
pub use open::{Intent, OpenError, Options, expect, open};
pub use ring::KeySource;
pub use rotation::{Progress, Rotated};
pub use seal::{KeyId, SealError};
pub use sealing::{Broken, KeyRole, KeyUse, List, Sealing, SealingError};

/// Names and realms that are made to be taken for one another.
#[cfg(test)]
pub(crate) fn tricky() -> impl proptest::strategy::Strategy<Value = (String, String)> {
    let part = "[ab@:%/\\\\\"é\u{ff}\u{1}2F4]{1,4}";
    (part, part)
}
