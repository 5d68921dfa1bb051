//! Removes hop-by-hop headers from a response, and corrects its framing.

use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, COOKIE, DATE, EXPECT, EXPIRES, HOST, HeaderName,
    HeaderValue, LOCATION, MAX_FORWARDS, PRAGMA, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE,
    RETRY_AFTER, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY, WARNING,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

/// The response cannot be forwarded.
pub(super) const BAD_RESPONSE: ErrorType = ErrorType::Custom("BadResponse");

/// Why a response with too many headers cannot be forwarded.
pub(super) const TOO_MANY_FIELDS: &str = "more than 256 headers";

/// Hop-by-hop headers (RFC 9110 §7.6.1, §7.8, §10.1.4, §11.7). Pingora sets those of the next hop.
static OF_A_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The maximum number of headers in a response. Pingora 0.9.1 has the same limit for HTTP/1.
const MOST_FIELDS: usize = 256;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// The request and the hops of its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// The client asked for a WebSocket.
    pub(super) is_upgrade: bool,
    /// The client receives trailers.
    pub(super) has_trailers: bool,
}

/// Removes hop-by-hop headers. Corrects the framing where RFC 9110 and RFC 9112 allow a proxy to do
/// so.
///
/// # Errors
/// [`BAD_RESPONSE`] if implementations could disagree about the end of the response, or about the
/// protocol that follows.
pub(super) fn mend(answer: &mut ResponseHeader, way: Way) -> Result<()> {
    if answer.headers.len() > MOST_FIELDS {
        return Err(bad(TOO_MANY_FIELDS));
    }
    let is_switch = answer.status == StatusCode::SWITCHING_PROTOCOLS;
    if is_switch {
        check_switch(&answer.headers, way)?;
    }
    let present = Present::of(&answer.headers);
    if present.coding {
        check_coding(answer)?;
    }
    if present.length {
        mend_length(answer)?;
    }
    if present.connection {
        for name in nominated(&answer.headers) {
            answer.remove_header(&name);
        }
    }
    if present.of_a_hop {
        for name in &OF_A_HOP {
            answer.remove_header(name);
        }
    }
    if present.trailer && !way.has_trailers {
        answer.remove_header(&TRAILER);
    }
    if is_switch {
        answer.insert_header(CONNECTION, "Upgrade")?;
        answer.insert_header(UPGRADE, WEBSOCKET)?;
    }
    Ok(())
}

/// The headers that [`mend`] processes, as far as a response has them. One pass over the names is
/// faster than a lookup of each.
#[derive(Default)]
struct Present {
    coding: bool,
    length: bool,
    connection: bool,
    trailer: bool,
    /// At least one of [`OF_A_HOP`].
    of_a_hop: bool,
}

impl Present {
    fn of(fields: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in fields.keys() {
            present.coding |= name == TRANSFER_ENCODING;
            present.length |= name == CONTENT_LENGTH;
            present.connection |= name == CONNECTION;
            present.trailer |= name == TRAILER;
            present.of_a_hop |= OF_A_HOP.contains(name);
        }
        present
    }
}

/// Headers that no trailer may contain, because they count before the content: for framing, routing,
/// authentication, or the processing of the content (RFC 9110 §6.5.1).
static OF_NO_TRAILER: [HeaderName; 24] = [
    AGE,
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    DATE,
    EXPIRES,
    HOST,
    LOCATION,
    PROXY_AUTHORIZATION,
    RETRY_AFTER,
    SET_COOKIE,
    TRAILER,
    VARY,
    WARNING,
    WWW_AUTHENTICATE,
    EXPECT,
    MAX_FORWARDS,
    RANGE,
    COOKIE,
    PRAGMA,
];

/// Removes headers from trailers that no trailer may contain.
pub(super) fn mend_trailers(trailers: &mut HeaderMap) {
    for name in OF_NO_TRAILER.iter().chain(&OF_A_HOP) {
        trailers.remove(name);
    }
}

fn bad(why: &'static str) -> Box<Error> {
    Error::explain(BAD_RESPONSE, why).into_up()
}

/// RFC 9110 §15.2.2, §7.8: a server may only switch to a protocol that the client asked for.
fn check_switch(fields: &HeaderMap, way: Way) -> Result<()> {
    if !way.is_upgrade {
        return Err(bad("101 without an upgrade request"));
    }
    let mut protocols = fields.get_all(UPGRADE).iter();
    let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    match (protocols.next(), protocols.next()) {
        (Some(protocol), None) if is_websocket(protocol) => Ok(()),
        _ => Err(bad("101 to a protocol other than WebSocket")),
    }
}

/// Rejects transfer codings other than `chunked`: no peer was asked for them, and the client could
/// not decode them (RFC 9112 §6.1, §7.4).
fn check_coding(answer: &ResponseHeader) -> Result<()> {
    if answer.version == Version::HTTP_10 {
        return Err(bad("Transfer-Encoding in HTTP/1.0"));
    }
    let mut codings = answer.headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| {
        let value = value.as_bytes().trim_ascii();
        value.eq_ignore_ascii_case(b"chunked")
    };
    match (codings.next(), codings.next()) {
        (Some(coding), None) if is_chunked(coding) => Ok(()),
        _ => Err(bad("a transfer coding other than chunked")),
    }
}

/// Merges equal lengths into one (RFC 9110 §8.6). Removes the length of a response without content
/// by definition (RFC 9110 §8.6, §15.3.5).
fn mend_length(answer: &mut ResponseHeader) -> Result<()> {
    if answer.status.is_informational() || answer.status == StatusCode::NO_CONTENT {
        answer.remove_header(&CONTENT_LENGTH);
        return Ok(());
    }
    let mut lines = answer.headers.get_all(CONTENT_LENGTH).iter();
    if let (Some(line), None) = (lines.next(), lines.next())
        && is_number(line.as_bytes())
    {
        return Ok(());
    }
    let lines = answer.headers.get_all(CONTENT_LENGTH).iter();
    let mut lengths = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let lengths = lengths.by_ref().map(<[u8]>::trim_ascii);
    let mut one = None;
    for length in lengths {
        if !is_number(length) || one.is_some_and(|one| one != length) {
            return Err(bad("an invalid Content-Length"));
        }
        one = Some(length);
    }
    let one = one.and_then(|one| HeaderValue::from_bytes(one).ok());
    let one = one.ok_or_else(|| bad("an invalid Content-Length"))?;
    answer.insert_header(CONTENT_LENGTH, one)
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Returns the headers that `Connection` names. Ignores invalid names.
fn nominated(fields: &HeaderMap) -> Vec<HeaderName> {
    let lines = fields.get_all(CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let names = names.map(<[u8]>::trim_ascii).filter(|name| {
        // Most responses have one of these, which name no header.
        !name.eq_ignore_ascii_case(b"keep-alive") && !name.eq_ignore_ascii_case(b"close")
    });
    names
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Way = Way {
        is_upgrade: false,
        has_trailers: false,
    };

    fn answer(status: u16, fields: &[(&'static str, &str)]) -> ResponseHeader {
        let mut answer = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            answer.append_header(*name, *value).unwrap();
        }
        answer
    }

    fn lengths(status: u16, lengths: &[&str]) -> Option<Vec<String>> {
        let fields: Vec<_> = lengths.iter().map(|it| ("Content-Length", *it)).collect();
        let mut answer = answer(status, &fields);
        mend(&mut answer, PLAIN).ok()?;
        let left = answer.headers.get_all(CONTENT_LENGTH).iter();
        Some(left.map(|it| it.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn equal_lengths_become_one_and_others_are_invalid() {
        for (status, said, expected) in [
            (200, &["3"][..], Some(vec!["3"])),
            (200, &["3, 3"], Some(vec!["3"])),
            (200, &["3", "3"], Some(vec!["3"])),
            (200, &["3,3", "3"], Some(vec!["3"])),
            (200, &["3, 4"], None),
            (200, &["3", "4"], None),
            (200, &["3", "03"], None),
            (200, &["3,"], None),
            (200, &["+3"], None),
            (200, &[""], None),
            (204, &["3"], Some(vec![])),
            (103, &["3"], Some(vec![])),
            (304, &["3"], Some(vec!["3"])),
        ] {
            let expected: Option<Vec<String>> =
                expected.map(|it| it.into_iter().map(str::to_owned).collect());
            assert_eq!(lengths(status, said), expected, "{status} {said:?}");
        }
    }

    #[test]
    fn headers_that_connection_names_are_removed_and_no_others() {
        let mut answer = answer(
            200,
            &[
                ("Connection", "close, X-A"),
                ("connection", "x-b,, \"x-c\", te"),
                ("X-A", "1"),
                ("X-B", "1"),
                ("X-B", "2"),
                ("X-C", "1"),
                ("TE", "trailers"),
                ("Close", "1"),
            ],
        );
        mend(&mut answer, PLAIN).unwrap();
        let names: Vec<_> = answer.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-c", "close"]);
        assert!(answer.case_header_iter().count() == 2);
    }
}
