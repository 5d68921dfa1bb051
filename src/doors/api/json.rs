//! JSON bodies: the known fields of an object.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::body::{Body, Fields, known};
use super::field::{Value, plain};
use super::media::Charset;
use super::python;
use super::response::ApiResponse;

/// Parses JSON. Nesting uses no stack, because the values of fields are skipped.
///
/// # Errors
/// The response: 400 for invalid JSON.
pub(super) fn read(bytes: &[u8], charset: Charset) -> Result<Body, ApiResponse> {
    let body = match charset {
        Charset::Utf8 => str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|error| ApiResponse::parse_error(&python::not_utf8(bytes, &error)))?,
        charset => charset.lossy(bytes),
    };
    fields(&body).map_err(|_| ApiResponse::parse_error(&python::not_json(&body)))
}

fn fields(body: &str) -> serde_json::Result<Body> {
    let start = body.trim_start_matches([' ', '\t', '\n', '\r']);
    if let Some(fields) = quick(start) {
        return Ok(Body::Fields(fields));
    }
    if start.starts_with('{') {
        let mut reader = serde_json::Deserializer::from_str(body);
        let fields = reader.deserialize_map(Known)?;
        reader.end()?;
        return Ok(Body::Fields(fields));
    }
    let raw: &RawValue = serde_json::from_str(body)?;
    Ok(match raw.get().as_bytes().first() {
        Some(b'n') => Body::Null,
        Some(b'[') => Body::Other("list"),
        Some(b'"') => Body::Other("str"),
        Some(b't' | b'f') => Body::Other("bool"),
        _ if raw.get().contains(['.', 'e', 'E']) => Body::Other("float"),
        _ => Body::Other("int"),
    })
}

/// Reads an object of strings without escapes, as most clients send. `None` for everything else.
fn quick(body: &str) -> Option<Fields> {
    let mut fields = Fields::default();
    let mut rest = body.strip_prefix('{')?;
    loop {
        let (key, after) = quick_string(blank(rest))?;
        let after = blank(after).strip_prefix(':')?;
        let (text, after) = quick_string(blank(after))?;
        if let Some(field) = known(key) {
            fields.set(field, Value::from_form(text));
        }
        let after = blank(after);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => {
                let end = blank(after.strip_prefix('}')?);
                return end.is_empty().then_some(fields);
            }
        }
    }
}

/// Splits a string without escapes from the text that it begins.
fn quick_string(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let is_end = |byte: u8| matches!(byte, b'"' | b'\\' | ..0x20);
    let (string, rest) = text.split_at_checked(text.bytes().position(is_end)?)?;
    Some((string, rest.strip_prefix('"')?))
}

/// Skips white space (RFC 8259 §2).
fn blank(text: &str) -> &str {
    match text.as_bytes().first() {
        Some(b' ' | b'\t' | b'\n' | b'\r') => text.trim_start_matches([' ', '\t', '\n', '\r']),
        _ => text,
    }
}

/// Collects the known fields of an object. The last occurrence of a key counts.
struct Known;

impl<'de> Visitor<'de> for Known {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some((key, value)) = object.next_entry::<&RawValue, &RawValue>()? {
            let field = match plain(key.get()) {
                Some(key) => known(key),
                None => match read_raw(key)? {
                    // A key may contain a lone surrogate; no known key does.
                    Value::Text {
                        text,
                        surrogate: None,
                    } => known(&text),
                    _ => None,
                },
            };
            if let Some(field) = field {
                fields.set(field, read_raw(value)?);
            }
        }
        Ok(fields)
    }
}

fn read_raw<E: serde::de::Error>(raw: &RawValue) -> Result<Value, E> {
    Value::from_json(raw.get()).map_err(E::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn objects_of_plain_strings_are_read_like_all_others(
            text in "\\{([ \n]?\"(name|realm|x|é|\\\\u0061|\t)\"[ \t]?:[ ]?(\"[a ,:}\\\\é\u{1}]{0,3}\"|1|null|\\{\\}),?){0,4}[ ]?\\}?[ ,}]?",
        ) {
            if let Some(quick) = quick(&text) {
                let mut reader = serde_json::Deserializer::from_str(&text);
                let slow = reader.deserialize_map(Known).unwrap();
                reader.end().unwrap();
                assert_eq!(quick, slow);
            }
        }
    }

    #[test]
    fn plain_strings_are_read_at_once() {
        let read = |text| quick(text).is_some();
        assert!(read(r#"{"name":"a", "realm" : "é","x":""}"#));
        for text in [
            "{}",
            r#"{"a":1}"#,
            r#"{"a":"b",}"#,
            r#"{"a":"b"}}"#,
            r#"{"a":"\n"}"#,
        ] {
            assert!(!read(text), "{text}");
        }
    }
}
