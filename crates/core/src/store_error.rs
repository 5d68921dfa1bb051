use std::sync::Arc;

use thiserror::Error;

use super::listing::BadRow;

/// Why a store operation failed. Never contains a seed or a token.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// No connection was free, or no response came, within the configured time. A write had no
    /// effect.
    #[error("the store did not respond in time")]
    Timeout,
    /// The write could no longer be rolled back, and its outcome was not known within the maximum
    /// wait.
    #[error("the store did not confirm the write in time; it may have been committed")]
    Unknown,
    /// The database returned an error.
    #[error("the store failed: {0}")]
    Database(Arc<str>),
    /// The row is no identity, because somebody has written it with SQL.
    #[error("row {} of the table identity is no identity: {}", .0.id.0, .0.problem)]
    Row(BadRow),
    /// A seed could not be sealed, or no random number was available.
    #[error("cannot make or seal the seed: {0}")]
    Seal(Arc<str>),
    /// A file of the database was deleted or replaced; the text names the file and what happened.
    /// Nothing is read or written until a restart.
    #[error("{0} while it was in use")]
    Lost(Arc<str>),
    /// The seeds of the database are encrypted with this key, which the process does not have.
    #[error("the seeds are encrypted with key {0}, which is missing here")]
    MissingKey(Arc<str>),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Returns whether a file of the database was deleted or replaced. This is permanent, and
    /// logged once.
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

/// Why a change failed.
#[derive(Clone, Debug, Error)]
pub enum ChangeError {
    /// Another identity has that name in that realm.
    #[error("the name is taken in that realm")]
    Taken,
    /// The identity has another version than expected.
    #[error("the identity has changed since")]
    Stale,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
