//! Settings whose form is checked by the module that uses them.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::error::{Mistake, Place};

/// A text with its position, so that the module that uses it can reject it. `Debug` prints a hash,
/// because the text may contain a password by mistake.
#[derive(Clone)]
pub struct Located {
    pub(super) text: String,
    /// The text in error messages.
    pub(super) shown: String,
    pub(super) place: Place,
    pub(super) key: &'static str,
}

impl Located {
    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Makes the error for this text.
    pub fn rejected(&self, expected: impl Into<String>) -> Mistake {
        Mistake::Value {
            place: self.place.clone(),
            key: self.key.to_owned(),
            value: self.shown.clone(),
            expected: expected.into(),
        }
    }
}

impl fmt::Debug for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Sha256::digest(&self.text).fmt(f)
    }
}

/// The value of an environment variable. `Debug` does not print it.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &Zeroizing<Vec<u8>> {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
