//! Errors of the server and their consequences.

use std::error::Error as _;
use std::sync::Arc;

use deadpool::managed::PoolError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use crate::record::RecordError;
use realmgate_core::{ChangeError, PrincipalError, StoreError};

/// The constraint that makes principals unique.
const PRINCIPAL: &str = "identity_principal";

/// Why a statement failed.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// Another identity has this name in this realm.
    Taken,
    /// The identity has another version than expected.
    Stale,
    /// The server is unreachable, is shutting down, or accepts no writes: another connection may
    /// succeed.
    Connection(Arc<str>),
    /// The server reported an error.
    Rejected(Arc<str>),
    /// No connection was free, or no response came, in time.
    Timeout,
    /// The transaction may have been committed.
    Unknown,
    /// A row or a seed cannot be read or written.
    Record(RecordError),
    /// The store is closed.
    Closed,
}

impl Fault {
    /// Returns whether the pool must be replaced.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(self, Self::Connection(_))
    }

    pub(super) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Rejected(text.into())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let text = describe(&error).into();
        match error.as_db_error() {
            Some(cause) if is_taken(cause) => Self::Taken,
            Some(cause) if is_of_connection(cause.code()) => Self::Connection(text),
            // The server cancelled the statement, or its wait for a lock.
            Some(cause) if is_timeout(cause.code()) => Self::Timeout,
            Some(_) => Self::Rejected(text),
            // The connection ended, or could not be made.
            None => Self::Connection(text),
        }
    }
}

impl From<PoolError<Self>> for Fault {
    fn from(error: PoolError<Self>) -> Self {
        match error {
            PoolError::Timeout(_) => Self::Timeout,
            PoolError::Backend(fault) => fault,
            PoolError::Closed => Self::Closed,
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Self::text("the connection pool is misconfigured")
            }
        }
    }
}

impl From<RecordError> for Fault {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<PrincipalError> for Fault {
    fn from(error: PrincipalError) -> Self {
        Self::Record(error.into())
    }
}

impl From<Fault> for ChangeError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Taken => Self::Taken,
            Fault::Stale => Self::Stale,
            other => Self::Store(other.into()),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Taken | Fault::Stale => Self::Database("a row could not be written".into()),
            Fault::Connection(text) | Fault::Rejected(text) => Self::Database(text),
            Fault::Timeout => Self::Timeout,
            Fault::Unknown => Self::Unknown,
            Fault::Record(RecordError::Seal(error)) => Self::Seal(error.to_string().into()),
            Fault::Record(error) => Self::Database(error.to_string().into()),
            Fault::Closed => Self::Closed,
        }
    }
}

fn is_taken(cause: &DbError) -> bool {
    *cause.code() == SqlState::UNIQUE_VIOLATION && cause.constraint() == Some(PRINCIPAL)
}

fn is_timeout(code: &SqlState) -> bool {
    [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE].contains(code)
}

/// Returns whether another connection may lead to a server that can run the statement: this one is
/// shutting down, starting, recovering, or accepts no writes.
fn is_of_connection(code: &SqlState) -> bool {
    let codes = [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        // "recovery is in progress", from functions that only a primary has.
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
    ];
    codes.contains(code) || code.code().starts_with("08")
}

/// Describes an error. Omits the details in errors of the server, because they contain values of
/// rows.
pub(super) fn describe(error: &Error) -> String {
    if let Some(cause) = error.as_db_error() {
        return format!("{} ({})", cause.message(), cause.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Converts the error of a write that cannot violate the uniqueness of principals.
pub(super) fn no_change(error: ChangeError) -> StoreError {
    match error {
        ChangeError::Store(error) => error,
        ChangeError::Taken | ChangeError::Stale => {
            StoreError::Database("a row could not be written".into())
        }
    }
}
