//! Checks the header of a request against limits, before it is interpreted.

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HeaderName, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};
use memchr::memchr;

use crate::config::Limits;
use crate::http::rejection::Rejection;

/// The overhead of a header field in HTTP/2 (RFC 9113 §6.5.2).
const FIELD: usize = 32;
/// The separator of joined cookie crumbs: a semicolon and a space.
const CRUMB: usize = 2;

/// Checks what is not checked while an HTTP/1 header is read.
///
/// # Errors
/// Why the request is rejected.
pub(crate) fn check_http1(parts: &Parts) -> Result<(), Rejection> {
    match expects_the_unknown(parts.version, &parts.headers) {
        true => Err(Rejection::Expect),
        false => Ok(()),
    }
}

/// Checks an HTTP/2 header.
///
/// # Errors
/// Why the request is rejected.
pub(crate) fn check_http2(parts: &Parts, limits: &Limits) -> Result<(), Rejection> {
    let headers = &parts.headers;
    let mut are_well_formed = true;
    let bytes = headers.iter().fold(0, |sum, (name, value)| {
        are_well_formed &= is_well_formed(name, value);
        sum + name.as_str().len() + value.len() + FIELD
    });
    let more = more_crumbs(parts.version, headers);
    let bytes = bytes.saturating_sub(more * (COOKIE.as_str().len() + FIELD - CRUMB));
    let target = parts.uri.path_and_query().map_or(0, |it| it.as_str().len());
    if is_framed_in_doubt(headers) {
        Err(Rejection::Framing)
    } else if !are_well_formed {
        Err(Rejection::Field)
    } else if target > limits.target_bytes {
        Err(Rejection::TargetLength)
    } else if headers.len() - more > limits.header_fields {
        Err(Rejection::FieldCount)
    } else if bytes > limits.header_bytes {
        Err(Rejection::HeaderLength)
    } else {
        check_http1(parts)
    }
}

/// Returns whether a name is a token, and a value neither begins nor ends with a space or a tab (RFC
/// 9113 §8.2.1). The `http` crate 1.5 allows `"` in names, and spaces everywhere in values.
fn is_well_formed(name: &HeaderName, value: &HeaderValue) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let value = value.as_bytes();
    !is_space(value.first())
        && !is_space(value.last())
        && memchr(b'"', name.as_str().as_bytes()).is_none()
}

/// Returns the number of HTTP/2 fields that are further crumbs of a cookie. All crumbs are one
/// field (RFC 9113 §8.2.3).
fn more_crumbs(version: Version, headers: &HeaderMap) -> usize {
    if version != Version::HTTP_2 {
        return 0;
    }
    let crumbs = headers.get_all(COOKIE).iter().count();
    crumbs.saturating_sub(1)
}

/// Returns whether a request expects anything but `100-continue`. Such requests may be rejected
/// (RFC 9110 §10.1.1): servers differ in how they read the value, and then in where the next
/// request begins. HTTP/1.0 has no expectations.
fn expects_the_unknown(version: Version, headers: &HeaderMap) -> bool {
    let mut expected = headers.get_all(EXPECT).iter();
    let Some(first) = expected.next() else {
        return false;
    };
    let is_known = first.as_bytes().eq_ignore_ascii_case(b"100-continue");
    version != Version::HTTP_10 && !(is_known && expected.next().is_none())
}

/// Returns whether servers could disagree about the length of the body: it is given twice, equal or
/// not (RFC 9110 §8.6 allows rejecting it), or there is a transfer coding other than chunked, which
/// would be lost when forwarding (RFC 9112 §6.1).
fn is_framed_in_doubt(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next().map(HeaderValue::as_bytes);
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next().map(HeaderValue::as_bytes);
    lengths.next().is_some()
        || codings.next().is_some()
        || length.is_some_and(|it| it.is_empty() || !it.iter().all(u8::is_ascii_digit))
        || coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"chunked"))
}
