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
        upstream.says(&format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nabc"));
        for version in ["1.1", "1.0"] {
            let answer = ask(&gate, "GET", version, "");
            assert_eq!(status(&answer), 200, "{answer}");
            let said = answer.to_lowercase();
            assert_eq!(said.matches("content-length: 3\r\n").count(), 1, "{answer}");
            assert_eq!(said.matches("content-length").count(), 1, "{answer}");
            assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
        }
        let (parts, body, _) = ask2(&gate, Method::GET, &[], b"").unwrap();
        assert_eq!(
            (&parts.headers["content-length"], &*body),
            (&"3".parse().unwrap(), &b"abc"[..])
        );
    }
}

#[test]
fn answer_whose_end_is_in_doubt_is_502_with_a_reason() {
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
            "HTTP/1.1 200 OK\r\nConnection: close\r\n{framing}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ));
        let answer = ask(&gate, "GET", "1.1", "");
        assert_eq!(status(&answer), 502, "{framing}: {answer}");
        assert!(!answer.contains("abc"), "{framing}: {answer}");
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
    upstream.says("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let answer = ask(&gate, "GET", "1.1", "");
    assert_eq!(status(&answer), 502, "{answer}");
}

#[test]
fn chunks_win_over_a_length_which_goes() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(
        "HTTP/1.1 200 OK\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let answer = ask(&gate, "GET", "1.1", "");
    without(&answer, &["Content-Length"]);
    assert!(
        answer.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        "{answer}"
    );
    let answer = ask(&gate, "GET", "1.0", "");
    without(&answer, &["Content-Length", "Transfer-Encoding"]);
    assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
    let (parts, body, _) = ask2(&gate, Method::GET, &[], b"").unwrap();
    assert!(!parts.headers.contains_key("content-length"), "{parts:?}");
    assert_eq!(body, b"abc");
}

#[test]
fn answer_without_content_says_no_length_and_has_none() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    for framing in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
        upstream.says(&format!(
            "HTTP/1.1 204 No Content\r\n{framing}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ));
        for version in ["1.1", "1.0"] {
            let answer = ask(&gate, "GET", version, "");
            assert_eq!(status(&answer), 204, "{answer}");
            without(&answer, &["Content-Length", "Transfer-Encoding"]);
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
            assert!(!answer.contains("abc"), "{answer}");
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
            204 => Upstream2::start(|it| answer2(it, 204, &[], b"abc", &[])),
            304 => Upstream2::start(|it| answer2(it, 304, &[], b"abc", &[])),
            _ => Upstream2::start(|it| answer2(it, 200, &[], b"abc", &[])),
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
        assert!(!answer.contains("abc"), "{answer}");
    }
}

/// RFC 9112 §6.3: only the end of the connection ends such a response, so the client cannot know
/// whether it is complete.
#[test]
fn answer_that_ends_with_its_connection_is_sent_in_the_way_of_each_version() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    for version in ["1.1", "1.0"] {
        upstream.says(&format!(
            "HTTP/{version} 200 OK\r\nConnection: close\r\n\r\nabc"
        ));
        let answer = ask(&gate, "GET", "1.1", "");
        assert_eq!(field(&answer, "Transfer-Encoding"), Some("chunked"));
        assert!(
            answer.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            "{answer}"
        );
        let answer = ask(&gate, "GET", "1.0", "Connection: keep-alive\r\n");
        without(&answer, &["Transfer-Encoding", "Content-Length"]);
        assert_eq!(field(&answer, "Connection"), Some("close"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
        let (_, body, _) = ask2(&gate, Method::GET, &[], b"").unwrap();
        assert_eq!(body, b"abc");
    }
}

/// RFC 9113 §8.1.1.
#[test]
fn answer_over_http2_that_is_not_as_long_as_it_says_never_looks_whole() {
    let upstream = Upstream2::start(|respond| {
        answer2(respond, 200, &[("content-length", "5")], b"abc", &[]);
    });
    let gate = upstream.gate();
    assert!(!ask2(&gate, Method::GET, &[], b"").is_ok_and(|(parts, ..)| parts.status == 200));
    let answer = ask(&gate, "GET", "1.1", "");
    let is_broken =
        field(&answer, "Content-Length") == Some("5") && !answer.ends_with("\r\n\r\nabcde");
    assert!(status(&answer) == 502 || is_broken, "{answer}");
}
