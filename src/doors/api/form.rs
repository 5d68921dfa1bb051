//! Forms: the known fields of `application/x-www-form-urlencoded` and of `multipart/form-data`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use memchr::memmem;
use multer::Multipart;
use percent_encoding::percent_decode;

use super::body::{Body, known};
use super::field::Value;
use super::media::{Charset, MediaType};
use super::response::Answer;

/// Reads a form (WHATWG URL §5.1). Of a field that stands there twice, the last one counts.
///
/// Characters that are not escaped are UTF-8, or ISO 8859-1 where the form is none: the old server read
/// them so. Escaped ones are of the form's `charset`.
pub(super) fn urlencoded(bytes: &[u8], charset: Charset) -> Body {
    let text = match (charset, str::from_utf8(bytes)) {
        (Charset::Utf8, Ok(text)) => Cow::Borrowed(text),
        (Charset::Utf8, Err(_)) => Charset::Latin1.lossy(bytes),
        (charset, _) => charset.lossy(bytes),
    };
    let mut fields = HashMap::new();
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let Some(name) = known(&unescaped(name, charset)) {
            fields.insert(name, Value::from_form(&unescaped(value, charset)));
        }
    }
    Body::Fields(fields)
}

/// Reads the escapes of a text; what is not ASCII stays.
fn unescaped(text: &str, charset: Charset) -> String {
    let text = text.replace('+', " ");
    let mut plain = String::with_capacity(text.len());
    for run in text
        .as_bytes()
        .chunk_by(|one, next| one.is_ascii() == next.is_ascii())
    {
        let bytes: Cow<'_, [u8]> = percent_decode(run).into();
        if run.is_ascii() {
            plain.push_str(&charset.lossy(&bytes));
        } else {
            plain.push_str(&String::from_utf8_lossy(run));
        }
    }
    plain
}

/// The most bytes of a boundary, as Python's `cgi` had it.
const BOUNDARY: usize = 201;

/// Reads a form in parts (RFC 7578). Of a field that stands there twice, the last one counts; a file
/// is no text.
///
/// As the old server, it takes a form without its closing line, and parts in base64.
///
/// # Errors
/// The answer: 400 for a boundary or a body that is none.
pub(super) async fn multipart(
    media: &MediaType<'_>,
    bytes: Bytes,
    charset: Charset,
) -> Result<Body, Answer> {
    let bad = |error: multer::Error| Answer::multipart_error(&error.to_string());
    let boundary = media.parameter("boundary").unwrap_or_default();
    let is_boundary = (1..=BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && !boundary.ends_with(' ');
    if !is_boundary {
        let words = format!("Invalid boundary in multipart: {boundary}");
        return Err(Answer::multipart_error(&words));
    }
    let stream = futures_util::stream::iter([Ok::<_, Infallible>(closed(bytes, &boundary))]);
    let mut parts = Multipart::new(stream, boundary);
    let mut fields = HashMap::new();
    while let Some(part) = parts.next_field().await.map_err(bad)? {
        let name = part.name().and_then(|name| known(name.trim()));
        let is_file = part.file_name().is_some_and(|name| !name.is_empty());
        let encoding = part.headers().get("content-transfer-encoding").cloned();
        let bytes = part.bytes().await.map_err(bad)?;
        let Some(name) = name else { continue };
        let is_base64 = encoding.is_some_and(|it| it.as_bytes().trim_ascii() == b"base64");
        let value = if is_file {
            Value::Other
        } else if is_base64 {
            Value::from_form(&charset.lossy(&from_base64(&bytes)))
        } else {
            Value::from_form(&charset.lossy(&bytes))
        };
        fields.insert(name, value);
    }
    Ok(Body::Fields(fields))
}

/// Ends a form that has begun, in case it does not end itself. After its end nothing is read.
fn closed(bytes: Bytes, boundary: &str) -> Bytes {
    let delimiter = format!("--{boundary}");
    if memmem::find(&bytes, delimiter.as_bytes()).is_none() {
        return bytes;
    }
    let mut whole = BytesMut::from(bytes);
    whole.extend_from_slice(format!("\r\n{delimiter}--\r\n").as_bytes());
    whole.freeze()
}

/// Reads base64 as Python does: other characters are passed over, and what is none stays as it is.
fn from_base64(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let letters: Vec<u8> = bytes.iter().copied().filter(is_letter).collect();
    BASE64.decode(&letters).map_or(bytes.into(), Cow::Owned)
}
