//! What becomes of a row, and why.

use std::fmt;

use crate::auth::{PrincipalError, SeedError};

/// Whether a row comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Under its own number.
    New,
    /// Under a new number: its own is another identity's, or none that the store gives.
    NewId,
    /// It is here already, with the same seed.
    Unchanged,
    /// It stays out.
    LeftOut(Reason),
}

/// Why a row stays out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its name or realm cannot be one.
    Principal(PrincipalError),
    /// Its name or realm is no UTF-8.
    Encoding,
    /// Its seed cannot be used: no token ever proved it.
    Seed(SeedError),
    /// Its seed has spaces or hyphens in it, with which the old server could not use it.
    SpacedSeed,
    /// Its seed is so short that whoever has seen a token can find it.
    ShortSeed {
        /// How many bits it has.
        bits: usize,
    },
    /// Another row has that name in that realm.
    Duplicate {
        /// The row that counts.
        of: i64,
    },
    /// The principal is here already, with another seed.
    OtherSeed {
        /// Its number here.
        here: i64,
    },
}

/// What one should know of a row that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Its seed has fewer than 128 bits (RFC 4226 §4, R6), and 80 at least.
    Weak {
        /// How many it has.
        bits: usize,
    },
    /// Django's `is_active` was off: it comes in disabled.
    Disabled,
    /// Its seed has fewer than 80 bits.
    Short {
        /// How many it has.
        bits: usize,
    },
    /// Its realm is a reserved one: it may do this.
    Reserved(Reserved),
}

/// What a reserved realm gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Administer identities.
    Admin,
    /// Verify the tokens of others.
    Auth,
}

impl Reason {
    /// Returns the reason without what differs from row to row.
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
    /// Returns the note without what differs from row to row.
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
