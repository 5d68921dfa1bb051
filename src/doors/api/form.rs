//! Forms: the known fields of `application/x-www-form-urlencoded` and of `multipart/form-data`.

use std::borrow::Cow;
use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use memchr::memmem;
use multer::Multipart;
use percent_encoding::percent_decode;

use super::body::{Body, Fields, known};
use super::field::Value;
use super::media::{Charset, MediaType};
use super::response::ApiResponse;

/// Parses a form (WHATWG URL §5.1). The last occurrence of a field counts.
///
/// As in ungleich-otp, unescaped bytes are UTF-8, or ISO 8859-1 if the form is not valid UTF-8.
/// Escaped bytes are in the `charset` of the form.
pub(super) fn urlencoded(bytes: &[u8], charset: Charset) -> Body {
    let text = match (charset, str::from_utf8(bytes)) {
        (Charset::Utf8, Ok(text)) => Cow::Borrowed(text),
        (Charset::Utf8, Err(_)) => Charset::Latin1.lossy(bytes),
        (charset, _) => charset.lossy(bytes),
    };
    let mut fields = Fields::default();
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let Some(name) = known(&unescaped(name, charset)) {
            fields.set(name, Value::from_form(&unescaped(value, charset)));
        }
    }
    Body::Fields(fields)
}

/// Decodes the escapes of a text. Keeps other non-ASCII bytes.
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

/// The maximum length of a boundary in bytes, as in Python's `cgi`.
const BOUNDARY: usize = 201;

/// Parses a multipart form (RFC 7578). The last occurrence of a field counts. Files are not text.
///
/// Accepts forms without the closing delimiter, and base64 parts, as ungleich-otp did.
///
/// # Errors
/// The response: 400 for an invalid boundary or body.
pub(super) async fn multipart(
    media: &MediaType<'_>,
    bytes: Bytes,
    charset: Charset,
) -> Result<Body, ApiResponse> {
    let bad = |error: multer::Error| ApiResponse::multipart_error(&error.to_string());
    let boundary = media.parameter("boundary").unwrap_or_default();
    let is_boundary = (1..=BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && !boundary.ends_with(' ');
    if !is_boundary {
        let words = format!("Invalid boundary in multipart: {boundary}");
        return Err(ApiResponse::multipart_error(&words));
    }
    let stream = futures_util::stream::iter([Ok::<_, Infallible>(closed(bytes, &boundary))]);
    let mut parts = Multipart::new(stream, boundary);
    let mut fields = Fields::default();
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
        fields.set(name, value);
    }
    Ok(Body::Fields(fields))
}

/// Appends the closing delimiter, in case it is missing. The parser ignores everything after the
/// first one.
fn closed(bytes: Bytes, boundary: &str) -> Bytes {
    let delimiter = format!("--{boundary}");
    if memmem::find(&bytes, delimiter.as_bytes()).is_none() {
        return bytes;
    }
    let mut whole = BytesMut::from(bytes);
    whole.extend_from_slice(format!("\r\n{delimiter}--\r\n").as_bytes());
    whole.freeze()
}

/// Decodes base64 as Python does: skips other characters, and returns invalid base64 unchanged.
fn from_base64(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let letters: Vec<u8> = bytes.iter().copied().filter(is_letter).collect();
    BASE64.decode(&letters).map_or(bytes.into(), Cow::Owned)
}
