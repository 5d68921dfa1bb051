//! What the header of a request may be like, before anything in it is believed.

use http::StatusCode;
use pingora::proxy::Session;

use super::answer::Answer;
use crate::config::Limits;

/// What a field costs beside its bytes where there is no wire to count on (RFC 9113 §6.5.2).
const FIELD: usize = 32;

/// Returns the answer to a header that is out of bounds.
///
/// The parser has bounds of its own, above ours. What exceeds those is its 400.
pub(crate) fn refuse(session: &Session, limits: &Limits) -> Option<Answer> {
    let header = session.req_header();
    let bytes = match session.as_http1() {
        Some(wire) => {
            let raw = wire.get_headers_raw_bytes();
            if has_bare_line_feed(&raw) {
                return Some(Answer::line(StatusCode::BAD_REQUEST, "bad line ending\n"));
            }
            raw.len()
        }
        None => header.headers.iter().fold(0, |sum, (name, value)| {
            sum + name.as_str().len() + value.len() + FIELD
        }),
    };
    if header.raw_path().len() > limits.target_bytes {
        let line = "the request target is too long\n";
        return Some(Answer::line(StatusCode::URI_TOO_LONG, line));
    }
    let line = if header.headers.len() > limits.header_fields {
        "too many header fields\n"
    } else if bytes > limits.header_bytes {
        "the header is too large\n"
    } else {
        return None;
    };
    Some(Answer::line(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        line,
    ))
}

/// Says whether a line ends without a carriage return, where some servers see an end and others do
/// not (RFC 9112 §2.2).
fn has_bare_line_feed(raw: &[u8]) -> bool {
    raw.split(|&byte| byte == b'\n')
        .rev()
        .skip(1)
        .any(|line| line.last() != Some(&b'\r'))
}

#[cfg(test)]
mod tests {
    use super::has_bare_line_feed;

    #[test]
    fn line_feed_needs_a_carriage_return_before_it() {
        for (raw, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", true),
            ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ] {
            assert_eq!(has_bare_line_feed(raw.as_bytes()), expected, "{raw:?}");
        }
    }
}
