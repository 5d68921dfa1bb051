//! Where identities live: a database ([`database`] says what it must do, [`sqlite`] is one) behind a cache
//! ([`cache`]). Seeds are encrypted ([`seal`]) with keys from a file ([`key_file`], [`ring`]).

mod access;
mod cache;
mod database;
mod draft;
mod figures;
mod key_file;
mod outage;
mod ring;
mod seal;
mod sqlite;

pub use access::Need;
pub use cache::{CacheOptions, Cached};
pub use figures::{CacheFigures, Figures, Observer, Operation};
pub use key_file::{KeyFileError, Keys};
pub use ring::KeySource;
pub use seal::{KeyId, SealError};
pub use sqlite::{
    Backup, BackupError, Broken, Intent, KeyRole, KeyUse, List, OpenError, Options, Progress,
    Rotated, Sealing, SealingError, backup, expect, open,
};

/// Names and realms that are made to be taken for one another.
#[cfg(test)]
pub(crate) fn tricky() -> impl proptest::strategy::Strategy<Value = (String, String)> {
    let part = "[ab@:%/\\\\\"é\u{ff}\u{1}2F4]{1,4}";
    (part, part)
}
