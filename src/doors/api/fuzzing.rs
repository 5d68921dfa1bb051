//! Properties that hold for any request body.

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::body::{Body, KNOWN};
use super::caller::subject_names;
use super::parse;
use crate::auth::trim;

/// The maximum length of a name in characters.
const CHARS: usize = 128;

/// Parses a body. The first line of the input is its content type.
///
/// # Panics
/// A field has an invalid text, or another JSON parser reads another text.
pub fn rest_body(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let mut headers = HeaderMap::new();
    let Ok(kind) = HeaderValue::from_bytes(parts.next().unwrap_or_default()) else {
        return;
    };
    let is_json = kind.as_bytes() == b"application/json";
    headers.insert(CONTENT_TYPE, kind);
    let bytes = parts.next().unwrap_or_default();
    // The whole body is available, so the parser never waits.
    let parsed = parse::body(&headers, Bytes::copy_from_slice(bytes)).now_or_never();
    let Some(Ok(body)) = parsed else {
        assert!(parsed.is_some(), "it waits");
        return;
    };
    let _ = (subject_names(&body), body.fault());
    for name in KNOWN {
        let plain = body.text(name, CHARS);
        if let Ok(text) = &plain {
            assert!(body.has(name));
            assert!((1..=CHARS).contains(&text.chars().count()), "{text:?}");
            // A number is formatted unchanged, and contains no white space.
            assert_eq!(trim(text), *text);
            assert!(!text.contains('\0'));
        }
        if let Ok(token) = body.token(name)
            && let Ok(token) = token.token()
        {
            assert!(!token.expose().is_empty() && !token.expose().contains('\0'));
        }
    }
    if is_json && !bytes.is_empty() {
        assert_alike(bytes, &body);
    }
}

/// Compares the fields with those that serde_json finds.
fn assert_alike(bytes: &[u8], body: &Body) {
    use serde_json::Value;
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => {
            for name in KNOWN {
                assert_eq!(body.has(name), object.contains_key(name), "{name}");
                if let Some(Value::String(text)) = object.get(name)
                    && let Ok(read) = body.text(name, CHARS)
                {
                    assert_eq!(read, trim(text));
                }
            }
        }
        Ok(other) => assert_eq!(body.fault().is_some(), !other.is_object()),
        // Too deep nesting, a lone surrogate or a number out of range: serde_json rejects these;
        // this parser skips them or reports a fault.
        Err(_) => {}
    }
}
