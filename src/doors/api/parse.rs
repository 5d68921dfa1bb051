use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::body::Body;
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
        return Ok(Body::Fields(HashMap::new()));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let given = types.next().map_or(&b""[..], |value| value.as_bytes());
    let given = String::from_utf8_lossy(given);
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
