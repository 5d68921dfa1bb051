//! JSON bodies: the known fields of an object.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::body::{Body, KNOWN};
use super::field::Value;
use super::wire::Answer;

/// Reads JSON. Nesting costs no stack: what is inside a field is only skipped.
///
/// # Errors
/// The answer: 400 for what is no JSON.
pub(super) fn read(bytes: &[u8]) -> Result<Body, Answer> {
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
