use std::collections::HashMap;

use super::field::{self, Fault, TokenText, Value};

/// The fields with a meaning. All others are ignored.
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

/// A parsed request body.
pub(super) enum Body {
    /// The known fields of an object or a form; `None` for an empty body.
    Fields(HashMap<&'static str, Value>),
    /// `null`.
    Null,
    /// JSON of another type, with Python's name of the type.
    Other(&'static str),
}

impl Body {
    /// Returns whether at least one of the fields is present, whatever its value.
    pub(super) fn has_any(&self, names: [&str; 3]) -> bool {
        names.into_iter().any(|name| self.has(name))
    }

    /// Returns whether a field is present, whatever its value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the text of a field, as [`field::text`] does.
    ///
    /// # Errors
    /// The faults of the field.
    pub(super) fn text(&self, name: &str, limit: usize) -> Result<String, Vec<Fault>> {
        field::text(self.get(name), limit)
    }

    /// Returns the token in a field, as [`field::token`] does.
    ///
    /// # Errors
    /// The faults of the field.
    pub(super) fn token(&self, name: &str) -> Result<TokenText, Vec<Fault>> {
        field::token(self.get(name))
    }

    /// Returns ungleich-otp's message if the body cannot have fields.
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

/// Returns the known field with this name.
pub(super) fn known(name: &str) -> Option<&'static str> {
    KNOWN.into_iter().find(|known| *known == name)
}
