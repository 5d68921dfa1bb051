//! Request headers on their way to an upstream.

use std::io::Write;
use std::net::TcpStream;

use ::http::Method;

use super::{Canned, Upstream2, answer2, ask, ask2, before, exchange, status, without};
use crate::harness::frames::{self, Field};
use crate::harness::{Gate, field, get, read_message, routes};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const NAMES: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
];

#[test]
fn hop_by_hop_headers_of_a_request_are_removed() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(OK);
    let fields = "Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n\
        TE: trailers\r\nTrailer: X-Y\r\nHTTP2-Settings: AAMAAABk\r\nX-Kept: yes\r\n";
    for version in ["1.1", "1.0"] {
        assert_eq!(status(&ask(&gate, "GET", version, fields)), 200);
        let heard = upstream.heard();
        without(&heard[0], &NAMES);
        assert_eq!(field(&heard[0], "X-Kept"), Some("yes"), "{heard:?}");
    }
    // Each alone, because Pingora processes only requests with one of them.
    let alone = fields.split_inclusive("\r\n").chain([
        "Connection: x-a\r\nX-A: 1\r\n",
        "Proxy-Authenticate: Basic\r\n",
        "Upgrade: h2c\r\n",
    ]);
    for fields in alone.filter(|it| !it.starts_with("X-Kept")) {
        // HTTP/1.0, so that there is no `Connection`.
        assert_eq!(status(&ask(&gate, "GET", "1.0", fields)), 200);
        let heard = upstream.heard();
        without(&heard[0], &NAMES);
        without(&heard[0], &["proxy-authenticate", "x-a"]);
    }
    let fields = [
        ("proxy-authorization", "Basic eA=="),
        ("te", "trailers"),
        ("trailer", "x-y"),
        ("http2-settings", "AAMAAABk"),
        ("x-kept", "yes"),
    ];
    ask2(&gate, Method::GET, &fields, b"").unwrap();
    let heard = upstream.heard();
    without(&heard[0], &NAMES);
    assert_eq!(field(&heard[0], "X-Kept"), Some("yes"), "{heard:?}");

    let upstream = Upstream2::start(|respond| answer2(respond, 200, &[], b"ok", &[]));
    let gate = upstream.gate();
    ask2(&gate, Method::GET, &fields, b"").unwrap();
    let heard = upstream.heard.lock().unwrap().remove(0);
    for name in NAMES.iter().filter(|name| **name != "te") {
        assert!(!heard.contains_key(*name), "{heard:?}");
    }
    // gRPC needs this header, and it is for this hop (RFC 9113 §8.2.2).
    assert_eq!(heard["te"], "trailers");
    assert_eq!(heard["x-kept"], "yes");
}

/// RFC 9113 §8.2.2: such requests are malformed, and never reach an upstream.
#[test]
fn connection_headers_over_http2_are_rejected() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(OK);
    let base = frames::request("POST", "app.example", "/public");
    let bad: [Field; 8] = [
        ("connection", "x-kept"),
        ("keep-alive", "5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("X-Upper", "a"),
        ("x y", "a"),
    ];
    for field in bad {
        let fields = [&base[..], &[field]].concat();
        let status = frames::ask(gate.gateway, &fields, b"body", &[]);
        assert!(matches!(status, None | Some(400)), "{field:?} {status:?}");
    }
    assert_eq!(upstream.heard(), [""; 0]);
    let status = frames::ask(gate.gateway, &base, b"body", &[]);
    assert_eq!(status, Some(200));
}

#[test]
fn expectation_of_http11_goes_on_and_the_100_comes_back() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(&format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"));
    let fields = "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nab";
    let answer = ask(&gate, "POST", "1.1", fields);
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"),
        "{answer}"
    );
    let heard = upstream.heard();
    assert_eq!(
        field(&heard[0], "Expect"),
        Some("100-Continue"),
        "{heard:?}"
    );
}

#[test]
fn expectation_of_http10_or_without_a_body_counts_for_nothing() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(OK);
    for (version, fields) in [
        ("1.0", "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab"),
        ("1.0", "Expect: something\r\nContent-Length: 2\r\n\r\nab"),
        ("1.1", "Expect: 100-continue\r\n"),
        ("1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n"),
    ] {
        let answer = ask(&gate, "POST", version, fields);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        without(&upstream.heard()[0], &["Expect"]);
    }
    // realmgate's own endpoints.
    let request = "POST /ungleichotp/verify/ HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\
        Content-Length: 2\r\n\r\n{}";
    let reply = crate::harness::raw(gate.service, request.as_bytes());
    assert_ne!(reply.status, 100, "{reply:?}");
}

#[test]
fn any_other_expectation_is_417_and_goes_nowhere() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(OK);
    for expected in [
        "Expect: 200-ok",
        "Expect: 100-continue, x",
        "Expect: y 100-continue",
        "Expect: 100-continue\r\nExpect: 100-continue",
        "Expect:",
    ] {
        let fields = format!("{expected}\r\nContent-Length: 2\r\n\r\nab");
        let answer = ask(&gate, "POST", "1.1", &fields);
        assert_eq!(status(&answer), 417, "{expected} {answer}");
        let request = format!("POST /ungleichotp/verify/ HTTP/1.1\r\nHost: a\r\n{fields}");
        let reply = crate::harness::raw(gate.service, request.as_bytes());
        assert_eq!(reply.status, 417, "{expected}");
    }
    let (parts, ..) = ask2(&gate, Method::POST, &[("expect", "x")], b"ab").unwrap();
    assert_eq!(parts.status, 417);
    assert_eq!(upstream.heard(), [""; 0]);
    assert!(gate.log().contains("bad_expect"), "{}", gate.log());
}

/// The 100 of the peer would not be passed on.
#[test]
fn client_that_expects_100_gets_it_before_an_http2_upstream() {
    let upstream = Upstream2::start(|respond| answer2(respond, 200, &[], b"ok", &[]));
    let gate = upstream.gate();
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    let head = b"POST /public HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\
        Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head).unwrap();
    let interim = read_message(&mut stream).unwrap();
    assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ab").unwrap();
    let answer = read_message(&mut stream).unwrap();
    assert_eq!(status(&answer), 200, "{answer}");
    let heard = upstream.heard.lock().unwrap().remove(0);
    assert!(!heard.contains_key("expect"), "{heard:?}");
}

/// RFC 9112 §3.2: the request is forwarded as HTTP/1.1, which requires a Host.
#[test]
fn request_of_http10_without_a_host_gets_that_of_the_peer() {
    let upstream = Canned::start();
    upstream.says(OK);
    let plain = before(&upstream);
    let answer = exchange(&plain, b"GET /public HTTP/1.0\r\n\r\n");
    assert_eq!(status(&answer), 200, "{answer}");
    let heard = upstream.heard();
    let peer = upstream.address.to_string();
    assert_eq!(field(&heard[0], "Host"), Some(&*peer), "{heard:?}");
    without(&heard[0], &["X-Forwarded-Host"]);
    // A route with a host does not match it.
    let route = "[[route]]\nname = 'h'\nhost = 'app.example'\nallow = 'anyone'\nupstream = 'app'\n";
    let peers = format!("[upstream.app]\npeers = ['{peer}']\n");
    let gate = Gate::start(&format!("{route}{peers}"));
    assert_eq!(
        status(&exchange(&gate, b"GET /public HTTP/1.0\r\n\r\n")),
        404
    );
    // The host that the route sets applies, as for any other request.
    let route =
        "[[route]]\nname = 'h'\nallow = 'anyone'\nupstream = 'app'\nupstream_host = 'b.example'\n";
    let gate = Gate::start(&format!("{route}{peers}"));
    exchange(&gate, b"GET /public HTTP/1.0\r\n\r\n");
    let heard = upstream.heard();
    assert_eq!(field(&heard[0], "Host"), Some("b.example"), "{heard:?}");
    // HTTP/2 requires one too.
    let upstream = Upstream2::start(|respond| answer2(respond, 200, &[], b"ok", &[]));
    let answer = exchange(&upstream.gate(), b"GET /public HTTP/1.0\r\n\r\n");
    assert_eq!(status(&answer), 200, "{answer}");
}

/// RFC 9113 §8.2.3.
#[test]
fn crumbs_of_http2_are_one_cookie_for_every_upstream() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(OK);
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")];
    ask2(&gate, Method::GET, &crumbs, b"").unwrap();
    let heard = upstream.heard();
    assert_eq!(
        field(&heard[0], "Cookie"),
        Some("a=1; b=2; c=3; d=4"),
        "{heard:?}"
    );
    let upstream = Upstream2::start(|respond| answer2(respond, 200, &[], b"ok", &[]));
    ask2(&upstream.gate(), Method::GET, &crumbs, b"").unwrap();
    let heard = upstream.heard.lock().unwrap().remove(0);
    assert_eq!(
        heard.get_all("cookie").iter().collect::<Vec<_>>(),
        ["a=1; b=2; c=3; d=4"]
    );
}

/// The class of a status is a label; no text of an upstream is.
#[test]
fn statuses_of_upstreams_are_counted_by_class() {
    let upstream = Canned::start();
    let gate = Gate::start(&routes(upstream.address));
    for status in [
        "200 OK",
        "201 Created",
        "302 Found",
        "404 Not Found",
        "503 Busy",
        "799 What",
    ] {
        upstream.says(&format!(
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"
        ));
        ask(&gate, "GET", "1.1", "");
    }
    upstream.says("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n");
    assert_eq!(status(&ask(&gate, "GET", "1.1", "")), 502);
    let metrics = get(gate.metrics(), "/metrics", "Accept: text/plain\r\n").body;
    for (class, count) in [
        ("1xx", 0),
        ("2xx", 2),
        ("3xx", 1),
        ("4xx", 1),
        ("5xx", 1),
        ("other", 1),
    ] {
        let line = format!(
            "realmgate_upstream_responses_total{{upstream=\"app\",class=\"{class}\"}} {count}"
        );
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}
