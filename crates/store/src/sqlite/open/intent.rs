//! What the store is opened for, and what may be made then.

use std::path::Path;

use super::error::OpenError;
use crate::access::Need;
use crate::key_file::Keys;
use crate::ring::KeySource;

/// What the store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// To read what is there. Nothing is made.
    Read,
    /// To change what is there. No database and no key is made.
    Change,
    /// To go on with what is there, or to begin: makes database and key if neither exists.
    Begin,
    /// To begin: makes the database, and the key, if it does not exist.
    Create,
}

impl Intent {
    /// Returns what has to be done with the files.
    pub(super) const fn need(self) -> Need {
        match self {
            Self::Read => Need::Read,
            Self::Change | Self::Begin | Self::Create => Need::Write,
        }
    }
}

/// Fails if no database may be made where there is none.
pub(super) fn may_make(
    path: &Path,
    key: &KeySource,
    keys: Option<&Keys>,
    intent: Intent,
) -> Result<(), OpenError> {
    match intent {
        Intent::Read | Intent::Change => {
            // A relative path says little to somebody who stands in the wrong folder.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
            Err(OpenError::Missing(path))
        }
        Intent::Begin if keys.is_some() => Err(OpenError::MissingBesideKey {
            path: path.into(),
            key: key.clone(),
        }),
        Intent::Begin | Intent::Create => Ok(()),
    }
}
