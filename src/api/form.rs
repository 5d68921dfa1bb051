//! Forms: the known fields of `application/x-www-form-urlencoded` and of `multipart/form-data`.

use std::collections::HashMap;
use std::convert::Infallible;

use bytes::Bytes;
use multer::Multipart;

use super::body::{Body, known};
use super::field::Value;
use super::wire::Answer;

/// Reads a form (WHATWG URL §5.1). Of a field that stands there twice, the last one counts.
pub(super) fn urlencoded(bytes: &[u8]) -> Body {
    let mut fields = HashMap::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        if let Some(name) = known(&name) {
            fields.insert(name, Value::from_form(&value));
        }
    }
    Body::Fields(fields)
}

/// Reads a form in parts (RFC 7578). Of a field that stands there twice, the last one counts; a file
/// is no text.
///
/// # Errors
/// The answer: 400 for a boundary or a body that is none.
pub(super) async fn multipart(content_type: &str, bytes: Bytes) -> Result<Body, Answer> {
    let bad = |error: multer::Error| Answer::multipart_error(&error.to_string());
    let boundary = multer::parse_boundary(content_type).map_err(bad)?;
    let stream = futures_util::stream::iter([Ok::<_, Infallible>(bytes)]);
    let mut parts = Multipart::new(stream, boundary);
    let mut fields = HashMap::new();
    while let Some(part) = parts.next_field().await.map_err(bad)? {
        let name = part.name().and_then(known);
        let is_file = part.file_name().is_some();
        let bytes = part.bytes().await.map_err(bad)?;
        let Some(name) = name else { continue };
        let value = if is_file {
            Value::Other
        } else {
            Value::from_form(&String::from_utf8_lossy(&bytes))
        };
        fields.insert(name, value);
    }
    Ok(Body::Fields(fields))
}
