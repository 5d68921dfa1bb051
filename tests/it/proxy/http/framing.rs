//! The end of a response.

use ::http::Method;

use super::{Canned, Upstream2, answer2, ask, ask2, before, status, without};
use crate::harness::{field, until};

#[test]
fn repeated_equal_lengths_become_one() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    for lengths in [
        "Content-Length: 3, 3",
        "Content-Length: 3\r\ncontent-length: 3",
        "Content-Length: 3,3\r\nContent-Length: 3",
    ] {
        upstream.says(&format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nxyz"));
        for version in ["1.1", "1.0"] {
            let answer = ask(&gate, "GET", version, "");
            assert_eq!(status(&answer), 200, "{answer}");
            let said = answer.to_lowercase();
            assert_eq!(said.matches("content-length: 3\r\n").count(), 1, "{answer}");
            assert_eq!(said.matches("content-length").count(), 1, "{answer}");
            assert!(answer.ends_with("\r\n\r\nxyz"), "{answer}");
        }
        let (parts, body, _) = ask2(&gate, Method::GET, &[], b"").unwrap();
        assert_eq!(
            (&parts.headers["content-length"], &*body),
            (&"3".parse().unwrap(), &b"xyz"[..])
        );
    }
}

#[test]
fn response_with_an_ambiguous_length_is_502_with_a_reason() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    for (number, framing) in [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 4",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length: 0x3",
        "Content-Length: ",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ]
    .into_iter()
    .enumerate()
    {
        upstream.says(&format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n{framing}\r\n\r\n3\r\nxyz\r\n0\r\n\r\n"
        ));
        let answer = ask(&gate, "GET", "1.1", "");
        assert_eq!(status(&answer), 502, "{framing}: {answer}");
        assert!(!answer.contains("xyz"), "{framing}: {answer}");
        let (parts, ..) = ask2(&gate, Method::GET, &[], b"").unwrap();
        assert_eq!(parts.status, 502, "{framing}");
        until("a line for each", || {
            gate.log().matches("upstream_bad_answer").count() == 2 * (number + 1)
        });
    }
}

/// RFC 9112 §6.1.
#[test]
fn chunks_in_http10_are_502() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n");
    let answer = ask(&gate, "GET", "1.1", "");
    assert_eq!(status(&answer), 502, "{answer}");
}

#[test]
fn chunks_win_over_a_length_which_goes() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(
        "HTTP/1.1 200 OK\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n",
    );
    let answer = ask(&gate, "GET", "1.1", "");
    without(&answer, &["Content-Length"]);
    assert!(
        answer.ends_with("\r\n\r\n3\r\nxyz\r\n0\r\n\r\n"),
        "{answer}"
    );
    let answer = ask(&gate, "GET", "1.0", "");
    without(&answer, &["Content-Length", "Transfer-Encoding"]);
    assert!(answer.ends_with("\r\n\r\nxyz"), "{answer}");
    let (parts, body, _) = ask2(&gate, Method::GET, &[], b"").unwrap();
    assert!(!parts.headers.contains_key("content-length"), "{parts:?}");
    assert_eq!(body, b"xyz");
}

#[test]
fn response_without_content_has_no_length_and_no_body() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    for framing in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
        upstream.says(&format!(
            "HTTP/1.1 204 No Content\r\n{framing}\r\n\r\n3\r\nxyz\r\n0\r\n\r\n"
        ));
        for version in ["1.1", "1.0"] {
            let answer = ask(&gate, "GET", version, "");
            assert_eq!(status(&answer), 204, "{answer}");
            without(&answer, &["Content-Length", "Transfer-Encoding"]);
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
            assert!(!answer.contains("xyz"), "{answer}");
        }
        let (parts, body, _) = ask2(&gate, Method::GET, &[], b"").unwrap();
        assert!(!parts.headers.contains_key("content-length"), "{parts:?}");
        assert_eq!(body, b"");
    }
    // Here it is the length that another request would get, and optional (RFC 9110 §8.6).
    upstream.says("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\nETag: \"a\"\r\n\r\n");
    let answer = ask(&gate, "GET", "1.1", "");
    assert_eq!(field(&answer, "ETag"), Some("\"a\""), "{answer}");
    without(&answer, &["Content-Length", "Transfer-Encoding"]);
    let (parts, ..) = ask2(&gate, Method::GET, &[], b"").unwrap();
    assert_eq!(parts.headers["content-length"], "3");
    upstream.says("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
    let answer = ask(&gate, "HEAD", "1.1", "");
    assert_eq!(field(&answer, "Content-Length"), Some("3"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

/// Over HTTP/2, it would reach the client unchanged.
#[test]
fn content_that_http2_sends_where_there_is_none_is_dropped() {
    for (number, method) in [(204, Method::GET), (304, Method::GET), (200, Method::HEAD)] {
        let upstream = match number {
            204 => Upstream2::start(|it| answer2(it, 204, &[], b"xyz", &[])),
            304 => Upstream2::start(|it| answer2(it, 304, &[], b"xyz", &[])),
            _ => Upstream2::start(|it| answer2(it, 200, &[], b"xyz", &[])),
        };
        let gate = upstream.gate();
        // Otherwise the response of the peer is rejected.
        if let Ok((parts, body, _)) = ask2(&gate, method.clone(), &[], b"") {
            assert_eq!(
                (parts.status.as_u16(), &*body),
                (number, &b""[..]),
                "{method}"
            );
        }
        let answer = ask(&gate, method.as_str(), "1.1", "");
        assert!(!answer.contains("xyz"), "{answer}");
    }
}

/// RFC 9112 §6.3: only the end of the connection ends such a response, so the client cannot know
/// whether it is complete.
#[test]
fn response_that_ends_with_its_connection_is_framed_for_each_version() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    for version in ["1.1", "1.0"] {
        upstream.says(&format!(
            "HTTP/{version} 200 OK\r\nConnection: close\r\n\r\nxyz"
        ));
        let answer = ask(&gate, "GET", "1.1", "");
        assert_eq!(field(&answer, "Transfer-Encoding"), Some("chunked"));
        assert!(
            answer.ends_with("\r\n\r\n3\r\nxyz\r\n0\r\n\r\n"),
            "{answer}"
        );
        let answer = ask(&gate, "GET", "1.0", "Connection: keep-alive\r\n");
        without(&answer, &["Transfer-Encoding", "Content-Length"]);
        assert_eq!(field(&answer, "Connection"), Some("close"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nxyz"), "{answer}");
        let (_, body, _) = ask2(&gate, Method::GET, &[], b"").unwrap();
        assert_eq!(body, b"xyz");
    }
}

/// RFC 9113 §8.1.1.
#[test]
fn http2_response_of_a_wrong_length_never_looks_complete() {
    let upstream = Upstream2::start(|respond| {
        answer2(respond, 200, &[("content-length", "5")], b"xyz", &[]);
    });
    let gate = upstream.gate();
    assert!(!ask2(&gate, Method::GET, &[], b"").is_ok_and(|(parts, ..)| parts.status == 200));
    let answer = ask(&gate, "GET", "1.1", "");
    let is_broken =
        field(&answer, "Content-Length") == Some("5") && !answer.ends_with("\r\n\r\nxyzde");
    assert!(status(&answer) == 502 || is_broken, "{answer}");
}

/// Pingora reads at most 256 headers of HTTP/1, and 1 MiB.
#[test]
fn response_with_a_long_or_malformed_header_is_502_with_a_reason() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    let most = "X-A: b\r\n".repeat(254);
    upstream.says(&format!(
        "HTTP/1.1 200 OK\r\n{most}Content-Length: 3\r\n\r\nxyz"
    ));
    assert_eq!(status(&ask(&gate, "GET", "1.1", "")), 200);
    let long = format!("X-A: {}", "b".repeat(1 << 20));
    for (fields, detail) in [
        (&*"X-A: b\r\n".repeat(256), "more than 256 headers"),
        (
            &format!("{long}\r\n{long}\r\n"),
            "a header of more than 1 MiB",
        ),
        ("X\0A: b\r\n", "an invalid header name"),
        ("X-A: b\0\r\n", "an invalid header value"),
        ("Content-Length: 4\r\n", "an invalid Content-Length"),
    ] {
        upstream.says(&format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n{fields}Content-Length: 3\r\n\r\nxyz"
        ));
        let answer = ask(&gate, "GET", "1.1", "");
        assert_eq!(status(&answer), 502, "{detail}: {answer}");
        let (parts, ..) = ask2(&gate, Method::GET, &[], b"").unwrap();
        assert_eq!(parts.status, 502, "{detail}");
        let line = format!("detail=\"{detail}\"");
        until("a line for each", || gate.log().matches(&line).count() == 2);
    }
    upstream.says("HTTP/2.0 200 OK\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&ask(&gate, "GET", "1.1", "")), 502);
    let log = gate.log();
    assert!(
        log.contains("an HTTP version other than 1.0 and 1.1"),
        "{log}"
    );
}

#[test]
fn http2_response_with_too_many_headers_is_502_with_a_reason() {
    const MANY: [(&str, &str); 257] = [("x-a", "b"); 257];
    for (answer, expected) in [
        (
            (|respond| answer2(respond, 200, &MANY[..250], b"xyz", &[])) as super::Answer2,
            200,
        ),
        (|respond| answer2(respond, 200, &MANY, b"xyz", &[]), 502),
    ] {
        let upstream = Upstream2::start(answer);
        let gate = upstream.gate();
        assert_eq!(status(&ask(&gate, "GET", "1.1", "")), expected);
        let (parts, ..) = ask2(&gate, Method::GET, &[], b"").unwrap();
        assert_eq!(parts.status, expected);
        let line = "detail=\"more than 256 headers\"";
        let count = if expected == 502 { 2 } else { 0 };
        until("a line for each", || {
            gate.log().matches(line).count() == count
        });
    }
}

/// RFC 9112 §6.3, over HTTP/1.1 and HTTP/2: the bytes behind a 204 are those of no response.
#[test]
fn body_of_a_204_is_dropped_with_its_connection() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    for framing in [
        "Transfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n",
        "Content-Length: 3\r\n\r\nxyz",
        "Content-Length: 29\r\n\r\nHTTP/1.1 200 OK\r\nX-Not: this",
    ] {
        upstream.says(&format!("HTTP/1.1 204 No Content\r\n{framing}"));
        for _ in 0..3 {
            let answer = ask(&gate, "GET", "1.1", "");
            assert_eq!(status(&answer), 204, "{answer}");
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
            assert!(
                !answer.to_lowercase().contains("content-length"),
                "{answer}"
            );
            let (parts, body, _) = ask2(&gate, Method::GET, &[], b"").unwrap();
            assert_eq!((parts.status.as_u16(), &*body), (204, &b""[..]));
        }
    }
}

/// Chunked bodies that are not in the grammar of RFC 9112 §7.1, and that Pingora 0.9.1 rejects.
const STRICT: [&str; 8] = [
    "3\r\nxyz\r\n",
    "3\r\nxyz\r\n0\r\n",
    "3\r\nxyz\r\n\r\n",
    "3\r\nxyz\r\n-0\r\n\r\n",
    "3\r\nxyz\r\ng\r\n\r\n",
    "3\r\nxyzd\r\n0\r\n\r\n",
    "3\r\nxyz\n0\r\n\r\n",
    "3\r\nxyz\r\n0\r\nA: b\n\r\n",
];

/// Those that it accepts: see `docs/upstream/README.md`.
const LAX: [&str; 6] = [
    "3\r\nxyz\r\n;x\r\n\r\n",
    "3;\nx\r\nxyz\r\n0\r\n\r\n",
    "3;a\0\r\nxyz\r\n0\r\n\r\n",
    "3;a=\"b\r\nxyz\r\n0\r\n\r\n",
    "3 \r\nxyz\r\n0\r\n\r\n",
    "3\r\nxyz\r\n0\r\nnot a trailer\0\r\n\r\n",
];

/// RFC 9112 §8, 9113 §8.1.1.
#[test]
fn malformed_chunked_response_does_not_look_complete() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    for (body, is_lax) in STRICT
        .map(|body| (body, false))
        .into_iter()
        .chain(LAX.map(|body| (body, true)))
    {
        upstream.says(&format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ));
        let answer = ask(&gate, "GET", "1.1", "");
        let is_whole = answer.ends_with("\r\n0\r\n\r\n");
        assert_eq!(is_whole, is_lax, "{body:?}: {answer}");
        let is_whole = ask2(&gate, Method::GET, &[], b"").is_ok_and(|it| it.0.status == 200);
        assert_eq!(is_whole, is_lax, "{body:?}");
    }
    // What follows such a response is no response to the next request.
    upstream.says(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n;x\r\n\r\nHTTP/1.1 200 OK\r\nX-Not: this\r\n\r\n",
    );
    for _ in 0..5 {
        let answer = ask(&gate, "GET", "1.1", "");
        assert!(!answer.to_lowercase().contains("x-not"), "{answer}");
    }
}
