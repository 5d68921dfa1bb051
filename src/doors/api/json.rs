//! JSON bodies: the known fields of an object.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::body::{Body, known};
use super::field::Value;
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

/// Collects the known fields of an object. The last occurrence of a key counts.
struct Known;

impl<'de> Visitor<'de> for Known {
    type Value = HashMap<&'static str, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut fields = HashMap::new();
        // A key may contain a lone surrogate; no known key does.
        while let Some((key, value)) = object.next_entry::<&RawValue, &RawValue>()? {
            let Value::Text { text, surrogate } = read_raw(key)? else {
                continue;
            };
            if surrogate.is_none()
                && let Some(name) = known(&text)
            {
                fields.insert(name, read_raw(value)?);
            }
        }
        Ok(fields)
    }
}

fn read_raw<E: serde::de::Error>(raw: &RawValue) -> Result<Value, E> {
    Value::from_json(raw.get()).map_err(E::custom)
}
