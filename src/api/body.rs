use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::field::{self, Fault, TokenText, Value};
use super::media::MediaType;
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
    /// The answer: 415 for a type other than JSON and the two of forms, and for a `charset` that is not
    /// read; 400 for what is none of its type.
    pub(super) async fn parse(headers: &HeaderMap, bytes: Bytes) -> Result<Self, Answer> {
        if bytes.is_empty() {
            return Ok(Self::Fields(HashMap::new()));
        }
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let given = types.next().map_or(&b""[..], |value| value.as_bytes());
        let given = String::from_utf8_lossy(given);
        let unsupported = || Answer::unsupported_type(&given);
        if types.next().is_some() {
            return Err(unsupported());
        }
        let media = MediaType::read(&given);
        let charset = media.charset().ok_or_else(unsupported)?;
        if media.is("application/json") {
            json::read(&bytes, charset)
        } else if media.is("application/x-www-form-urlencoded") {
            Ok(form::urlencoded(&bytes, charset))
        } else if media.is("multipart/form-data") {
            form::multipart(&media, bytes, charset).await
        } else {
            Err(unsupported())
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
