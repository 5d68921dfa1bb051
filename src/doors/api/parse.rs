use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::body::{Body, Fields};
use super::media::MediaType;
use super::response::ApiResponse;
use crate::doors::api::{form, json};

/// Parses a body according to its `Content-Type`. An empty body needs none.
///
/// # Errors
/// The response: 415 for a type other than JSON and forms, or for an unsupported `charset`; 400 for
/// a malformed body.
pub(super) async fn body(headers: &HeaderMap, bytes: Bytes) -> Result<Body, ApiResponse> {
    if bytes.is_empty() {
        return Ok(Body::Fields(Fields::default()));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let given = match types.next() {
        None => Cow::Borrowed(""),
        Some(given) => match given.to_str() {
            Ok(given) => Cow::Borrowed(given),
            Err(_) => String::from_utf8_lossy(given.as_bytes()),
        },
    };
    let unsupported = || ApiResponse::unsupported_type(&given);
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
