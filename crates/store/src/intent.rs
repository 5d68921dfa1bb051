//! The purpose of opening a store, and what it may create.

use crate::access::Need;
use crate::key_file::Keys;
use crate::key_ring::KeySource;
use crate::location::Location;
use crate::open_error::OpenError;

/// The purpose of opening a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Read. Creates nothing.
    Read,
    /// Read and change. Creates no database and no key.
    Change,
    /// Serve. Creates the database and the key if neither exists.
    Begin,
    /// Initialize. Creates the database, and the key if it does not exist.
    Create,
}

impl Intent {
    /// Returns the access that the files need.
    pub(crate) const fn need(self) -> Need {
        match self {
            Self::Read => Need::Read,
            Self::Change | Self::Begin | Self::Create => Need::Write,
        }
    }
}

/// Fails if `intent` does not allow creating a missing database.
pub(crate) fn may_make(
    location: Location,
    key: &KeySource,
    keys: Option<&Keys>,
    intent: Intent,
) -> Result<(), OpenError> {
    match intent {
        Intent::Read | Intent::Change => Err(OpenError::Missing(location)),
        Intent::Begin if keys.is_some() => Err(OpenError::MissingBesideKey {
            path: location,
            key: key.clone(),
        }),
        Intent::Begin | Intent::Create => Ok(()),
    }
}
