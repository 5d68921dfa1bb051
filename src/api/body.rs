use std::collections::HashMap;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::value::RawValue;

use super::field::{Fault, Kind, Value, text};
use super::wire::Answer;

/// The fields that mean something; every other one is ignored.
const KNOWN: [&str; 9] = [
    "auth_name",
    "auth_realm",
    "auth_token",
    "name",
    "realm",
    "token",
    "verifyname",
    "verifyrealm",
    "verifytoken",
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
    /// The answer: 415 for a type other than JSON and a form, 400 for bad JSON.
    pub(super) fn parse(headers: &HeaderMap, bytes: &[u8]) -> Result<Self, Answer> {
        if bytes.is_empty() {
            return Ok(Self::Fields(HashMap::new()));
        }
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let given = types.next().map_or(&b""[..], |value| value.as_bytes());
        let essence = given.split(|&byte| byte == b';').next().unwrap_or_default();
        let essence = essence.trim_ascii();
        let ambiguous = types.next().is_some();
        if !ambiguous && essence.eq_ignore_ascii_case(b"application/json") {
            json(bytes)
        } else if !ambiguous && essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            Ok(form(bytes))
        } else {
            Err(Answer::unsupported_type(&String::from_utf8_lossy(given)))
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

/// Parses JSON. Nesting costs no stack: what is inside a field is only skipped.
fn json(bytes: &[u8]) -> Result<Body, Answer> {
    let Ok(body) = str::from_utf8(bytes) else {
        return Err(Answer::parse_error("the body is not UTF-8"));
    };
    let bad = |error: serde_json::Error| Answer::parse_error(&python_wording(body, &error));
    let start = body.trim_start_matches([' ', '\t', '\n', '\r']);
    if !start.starts_with('{') {
        let raw: &RawValue = serde_json::from_str(body).map_err(bad)?;
        return Ok(match raw.get().as_bytes().first() {
            Some(b'n') => Body::Null,
            Some(b'[') => Body::Other("list"),
            Some(b'"') => Body::Other("str"),
            Some(b't' | b'f') => Body::Other("bool"),
            _ if raw.get().contains(['.', 'e', 'E']) => Body::Other("float"),
            _ => Body::Other("int"),
        });
    }
    // Of a key that stands there twice, the last one counts.
    let object: HashMap<String, &RawValue> = serde_json::from_str(body).map_err(bad)?;
    let mut fields = HashMap::new();
    for name in KNOWN {
        if let Some(raw) = object.get(name) {
            fields.insert(name, Value::from_json(raw.get()).map_err(bad)?);
        }
    }
    Ok(Body::Fields(fields))
}

fn form(bytes: &[u8]) -> Body {
    let mut fields = HashMap::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        if let Some(name) = KNOWN.into_iter().find(|known| *known == name) {
            fields.insert(name, Value::from_form(value));
        }
    }
    Body::Fields(fields)
}

/// Says what is wrong with the syntax in the words of Python's `json`, which old clients may show: the
/// same place, and in nearly every case the same words.
fn python_wording(body: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = if text.starts_with("trailing characters") {
        "Extra data"
    } else if text.starts_with("expected `:`") {
        "Expecting ':' delimiter"
    } else if text.starts_with("expected `,`") {
        "Expecting ',' delimiter"
    } else if text.starts_with("key must be a string") || text.starts_with("trailing comma") {
        "Expecting property name enclosed in double quotes"
    } else {
        "Expecting value"
    };
    // Both count lines and columns from 1, but Python counts characters, and serde_json bytes.
    let lines = error.line().saturating_sub(1);
    let start: usize = body.split_inclusive('\n').take(lines).map(str::len).sum();
    let offset = if error.is_eof() {
        body.len()
    } else {
        start + error.column().saturating_sub(1)
    };
    let mut before = body.get(..offset).unwrap_or(body);
    if text.starts_with("expected ident") {
        // Python stands at the beginning of the word.
        before = before.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    }
    let position = before.chars().count();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    format!("{words}: line {line} column {column} (char {position})")
}
