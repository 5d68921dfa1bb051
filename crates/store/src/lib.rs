//! Stores identities: a database (trait in [`database`], implementations in [`sqlite`] and
//! [`postgres`]) behind a cache ([`cache`]). Seeds are encrypted ([`seal`]) with keys from a file
//! ([`key_file`], [`key_ring`]).

mod access;
mod atomic_file;
mod cache;
mod copy;
mod copy_error;
mod database;
mod folder;
mod inspect;
mod inspection;
mod intent;
mod kept;
mod key_file;
mod key_ring;
mod key_tables;
mod listing;
mod location;
mod metrics;
mod open;
mod open_error;
mod options;
mod outage;
mod postgres;
mod record;
mod rotation;
mod seal;
mod sealing;
mod sessions;
mod spent;
mod sqlite;
mod steady;
mod tables;

pub use access::Need;
pub use cache::{CacheOptions, Cached};
pub use copy::{Copied, copy};
pub use copy_error::CopyError;
pub use inspect::inspect;
pub use inspection::{Inspection, ServerState};
pub use intent::Intent;
pub use key_file::{KeyFileError, Keys};
pub use key_ring::KeySource;
pub use key_tables::{Broken, KeyRole, KeyUse, List, SealingError};
pub use location::Location;
pub use metrics::{CacheMetrics, Observer, Operation, PoolMetrics, StoreMetrics};
pub use open::{expect, open};
pub use open_error::OpenError;
pub use options::{Backend, Options};
pub use postgres::{Password, Server, UrlError};
pub use rotation::{Progress, Rotated};
pub use seal::{KeyId, SealError};
pub use sealing::Sealing;
pub use sqlite::{Backup, BackupError, backup};

/// Names and realms that are easily confused.
#[cfg(test)]
pub(crate) fn tricky() -> impl proptest::strategy::Strategy<Value = (String, String)> {
    let part = "[ab@:%/\\\\\"é\u{ff}\u{1}2F4]{1,4}";
    (part, part)
}
