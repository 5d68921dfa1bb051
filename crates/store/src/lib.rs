//! Stores identities: a database (trait in [`database`], implementation in [`sqlite`]) behind a
//! cache ([`cache`]). Seeds are encrypted ([`seal`]) with keys from a file ([`key_file`],
//! [`key_ring`]).

mod access;
mod atomic_file;
mod cache;
mod database;
mod key_file;
mod key_ring;
mod metrics;
mod outage;
mod seal;
mod sqlite;

pub use access::Need;
pub use cache::{CacheOptions, Cached};
pub use key_file::{KeyFileError, Keys};
pub use key_ring::KeySource;
pub use metrics::{CacheMetrics, Observer, Operation, StoreMetrics};
pub use seal::{KeyId, SealError};
pub use sqlite::{
    Backup, BackupError, Broken, Intent, KeyRole, KeyUse, List, OpenError, Options, Progress,
    Rotated, Sealing, SealingError, backup, expect, open,
};

/// Names and realms that are easily confused.
#[cfg(test)]
pub(crate) fn tricky() -> impl proptest::strategy::Strategy<Value = (String, String)> {
    let part = "[ab@:%/\\\\\"é\u{ff}\u{1}2F4]{1,4}";
    (part, part)
}
