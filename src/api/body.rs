use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::field::{Fault, Kind, Value, text};
use super::wire::Answer;
use super::{form, json};

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
    /// Parses a body as its `Content-Type` says. An empty one needs none.
    ///
    /// # Errors
    /// The answer: 415 for a type other than JSON and the two of forms, 400 for what is none of its
    /// type.
    pub(super) async fn parse(headers: &HeaderMap, bytes: Bytes) -> Result<Self, Answer> {
        if bytes.is_empty() {
            return Ok(Self::Fields(HashMap::new()));
        }
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let given = types.next().map_or(&b""[..], |value| value.as_bytes());
        let essence = given.split(|&byte| byte == b';').next().unwrap_or_default();
        let essence = essence.trim_ascii();
        let is = |media: &str| essence.eq_ignore_ascii_case(media.as_bytes());
        let given = String::from_utf8_lossy(given);
        if types.next().is_some() {
            Err(Answer::unsupported_type(&given))
        } else if is("application/json") {
            json::read(&bytes)
        } else if is("application/x-www-form-urlencoded") {
            Ok(form::urlencoded(&bytes))
        } else if is("multipart/form-data") {
            form::multipart(&given, bytes).await
        } else {
            Err(Answer::unsupported_type(&given))
        }
    }

    /// Says whether at least one of the fields is there, whatever it holds.
    pub(super) fn has_any(&self, names: [&str; 3]) -> bool {
        names.into_iter().any(|name| self.has(name))
    }

    /// Says whether a field is there, whatever it holds.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the text of a field; see [`text`].
    ///
    /// # Errors
    /// The faults of the field.
    pub(super) fn text(&self, name: &str, kind: Kind, limit: usize) -> Result<String, Vec<Fault>> {
        text(self.get(name), kind, limit)
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
