//! The outcome of each row of an import, and the reasons.

use std::fmt;

use crate::auth::{PrincipalError, SeedError};

/// Whether a row is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Imported under its own id.
    New,
    /// Imported under a new id, because its own is taken or outside the range of the store.
    NewId,
    /// The identity exists with the same seed.
    Unchanged,
    /// Skipped.
    LeftOut(Reason),
}

/// Why a row is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The name or the realm is invalid.
    Principal(PrincipalError),
    /// The name or the realm is not UTF-8.
    Encoding,
    /// The seed is invalid, so no token ever matched.
    Seed(SeedError),
    /// The seed contains spaces or hyphens, which ungleich-otp did not accept.
    SpacedSeed,
    /// The seed is so short that it can be computed from one token.
    ShortSeed {
        /// Its length in bits.
        bits: usize,
    },
    /// Another row has the same name and realm.
    Duplicate {
        /// The id of the row that is imported.
        of: i64,
    },
    /// The identity exists with another seed.
    OtherSeed {
        /// The id of the existing identity.
        here: i64,
    },
}

/// A remark about an imported row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The seed has 80 to 127 bits, fewer than RFC 4226 §4 R6 requires.
    Weak {
        /// Its length in bits.
        bits: usize,
    },
    /// Django's `is_active` is false, so the identity is imported disabled.
    Disabled,
    /// The seed has fewer than 80 bits.
    Short {
        /// Its length in bits.
        bits: usize,
    },
    /// The realm is reserved and has a capability.
    Reserved(Reserved),
}

/// The capability of a reserved realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Administers identities.
    Admin,
    /// Verifies the tokens of others.
    Auth,
}

impl Reason {
    /// Returns the reason without the values of the row, to count rows by kind.
    pub fn kind(&self) -> String {
        match self {
            Self::ShortSeed { .. } => "seed too short".to_owned(),
            Self::Duplicate { .. } => "the same name and realm as another row".to_owned(),
            Self::OtherSeed { .. } => "identity exists with another seed".to_owned(),
            other => other.to_string(),
        }
    }
}

impl Note {
    /// Returns the note without the values of the row, to count rows by kind.
    pub fn kind(&self) -> String {
        match self {
            Self::Weak { .. } => "weak seed, rotate it".to_owned(),
            Self::Short { .. } => {
                "short seed, can be computed from a few tokens; rotate it now".to_owned()
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(error) => error.fmt(f),
            Self::Encoding => f.write_str("the name or the realm is not UTF-8"),
            Self::Seed(error) => error.fmt(f),
            Self::SpacedSeed => {
                f.write_str("the seed has spaces or hyphens, so the old server could not use it")
            }
            Self::ShortSeed { bits } => {
                write!(f, "seed too short ({bits} bits)")
            }
            Self::Duplicate { of } => write!(f, "the same name and realm as row {of}"),
            Self::OtherSeed { here } => {
                write!(
                    f,
                    "identity {here} has the same name and realm but another seed"
                )
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weak { bits } => write!(f, "weak seed of {bits} bits, rotate it"),
            Self::Disabled => {
                f.write_str("disabled, because is_active is false (the old server ignored it)")
            }
            Self::Short { bits } => {
                write!(
                    f,
                    "short seed of {bits} bits, can be computed from a few tokens; rotate it now"
                )
            }
            Self::Reserved(Reserved::Admin) => f.write_str("may administer identities"),
            Self::Reserved(Reserved::Auth) => f.write_str("may verify tokens"),
        }
    }
}
