use std::collections::HashMap;

use super::field::{self, Fault, TokenText, Value};

/// The fields that mean something; every other one is ignored.
pub(super) const KNOWN: [&str; 10] = [
    "auth_name",
    "auth_realm",
    "auth_token",
    "name",
    "realm",
    "token",
    "verifyname",
    "verifyrealm",
    "verifytoken",
    "client_address",
];

/// A parsed body.
pub(super) enum Body {
    /// An object or a form, or no body at all: the known fields in it.
    Fields(HashMap<&'static str, Value>),
    /// `null`.
    Null,
    /// JSON of another type, by Python's name for it.
    Other(&'static str),
}

impl Body {
    /// Says whether at least one of the fields is there, whatever it holds.
    pub(super) fn has_any(&self, names: [&str; 3]) -> bool {
        names.into_iter().any(|name| self.has(name))
    }

    /// Says whether a field is there, whatever it holds.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the text of a field; see [`field::text`].
    ///
    /// # Errors
    /// The faults of the field.
    pub(super) fn text(&self, name: &str, limit: usize) -> Result<String, Vec<Fault>> {
        field::text(self.get(name), limit)
    }

    /// Returns the token in a field; see [`field::token`].
    ///
    /// # Errors
    /// The faults of the field.
    pub(super) fn token(&self, name: &str) -> Result<TokenText, Vec<Fault>> {
        field::token(self.get(name))
    }

    /// Returns the old server's message if this is a body that cannot have fields.
    pub(super) fn fault(&self) -> Option<String> {
        match self {
            Self::Fields(_) => None,
            Self::Null => Some("No data provided".to_owned()),
            Self::Other(kind) => Some(format!(
                "Invalid data. Expected a dictionary, but got {kind}."
            )),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Fields(fields) => fields.get(name),
            Self::Null | Self::Other(_) => None,
        }
    }
}

/// Returns the known field of that name.
pub(super) fn known(name: &str) -> Option<&'static str> {
    KNOWN.into_iter().find(|known| *known == name)
}
