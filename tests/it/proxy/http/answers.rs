//! Response headers and interim responses.

use std::io::Write;
use std::net::TcpStream;

use ::http::{HeaderName, Method};

use super::{Canned, Upstream2, answer2, ask, ask2, before, exchange, status, without};
use crate::harness::{curl, field, read_message, stdout, until};

/// Hop-by-hop headers in an otherwise complete response.
const OF_A_HOP: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\
    Keep-Alive: timeout=7\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c, websocket\r\n\
    Proxy-Authenticate: Basic\r\nProxy-Authentication-Info: x\r\nTrailer: X-Checksum\r\nX-Kept: yes\r\n\r\nok";

const NAMES: [&str; 9] = [
    "keep-alive",
    "proxy-connection",
    "te",
    "upgrade",
    "proxy-authenticate",
    "proxy-authentication-info",
    "trailer",
    "transfer-encoding",
    "x-named",
];

#[test]
fn hop_by_hop_headers_of_a_response_are_removed() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(OF_A_HOP);
    for version in ["1.1", "1.0"] {
        let answer = ask(&gate, "GET", version, "");
        assert_eq!(status(&answer), 200, "{answer}");
        without(&answer, &NAMES);
        assert_eq!(field(&answer, "X-Kept"), Some("yes"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
    let (parts, body, _) = ask2(&gate, Method::GET, &[], b"").unwrap();
    for name in NAMES {
        assert!(!parts.headers.contains_key(name), "{parts:?}");
    }
    assert_eq!(parts.headers["x-kept"], "yes");
    assert_eq!(body, b"ok");
}

#[test]
fn headers_named_by_connection_are_removed() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    for named in [
        "X-Named",
        "keep-alive, x-named",
        "X-Other,\tX-NAMED ,",
        "close\r\nConnection: X-Named",
    ] {
        upstream.says(&format!(
            "HTTP/1.1 200 OK\r\nX-Named: a\r\nConnection: {named}\r\nX-named: b\r\nX-Kept: yes\r\n\
             Content-Length: 2\r\n\r\nok"
        ));
        for version in ["1.1", "1.0"] {
            let answer = ask(&gate, "GET", version, "");
            assert_eq!(status(&answer), 200, "{answer}");
            without(&answer, &["X-Named"]);
            assert_eq!(field(&answer, "X-Kept"), Some("yes"), "{answer}");
        }
        let (parts, ..) = ask2(&gate, Method::GET, &[], b"").unwrap();
        assert!(!parts.headers.contains_key("x-named"), "{parts:?}");
        assert!(!parts.headers.contains_key("connection"), "{parts:?}");
    }
}

#[test]
fn response_whose_length_connection_names_is_sent_in_chunks() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(
        "HTTP/1.1 200 OK\r\nConnection: Content-Length, Transfer-Encoding\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = ask(&gate, "GET", "1.1", "");
    without(&answer, &["Content-Length"]);
    assert_eq!(field(&answer, "Transfer-Encoding"), Some("chunked"));
    assert!(answer.ends_with("\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "{answer}");
}

#[test]
fn hop_by_hop_headers_of_an_interim_response_are_removed() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nKeep-Alive: x\r\nConnection: X-Named\r\n\
         X-Named: a\r\nTE: x\r\nContent-Length: 5\r\nUpgrade: h2c\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = ask(&gate, "GET", "1.1", "");
    assert_eq!(status(&answer), 103, "{answer}");
    without(&answer, &NAMES);
    without(&answer, &["Content-Length", "Connection"]);
    assert!(field(&answer, "Link").is_some(), "{answer}");
    assert!(answer.contains("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn interim_responses_reach_http11_and_no_other_version() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    for interim in ["100 Continue", "102 Processing", "103 Early Hints"] {
        upstream.says(&format!(
            "HTTP/1.1 {interim}\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        ));
        let answer = ask(&gate, "GET", "1.1", "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {interim}\r\n\r\nHTTP/1.1 200")));
        let answer = ask(&gate, "GET", "1.0", "");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let (parts, ..) = ask2(&gate, Method::GET, &[], b"").unwrap();
        assert_eq!(parts.status, 200);
    }
}

#[test]
fn unrequested_switch_is_502_with_a_reason() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    upstream.says(switch);
    for version in ["1.1", "1.0"] {
        let answer = ask(&gate, "GET", version, "");
        assert_eq!(status(&answer), 502, "{answer}");
    }
    let (parts, ..) = ask2(&gate, Method::GET, &[], b"").unwrap();
    assert_eq!(parts.status, 502);
    until("a line for each", || {
        gate.log().matches("upstream_bad_answer").count() == 3
    });
    let log = gate.log();
    assert!(log.contains("101 without an upgrade request"), "{log}");
}

#[test]
fn switch_to_another_protocol_is_502() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    let asked = "GET /public HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    for protocol in [
        "",
        "Upgrade: h2c\r\n",
        "Upgrade: websocket\r\nUpgrade: h2c\r\n",
    ] {
        upstream.says(&format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{protocol}\r\n"
        ));
        let answer = exchange(&gate, asked.as_bytes());
        assert_eq!(status(&answer), 502, "{protocol} {answer}");
    }
    upstream.says(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade, X-Named\r\nX-Named: a\r\n\
         Upgrade: WebSocket\r\nKeep-Alive: x\r\n\r\n",
    );
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    stream.write_all(asked.as_bytes()).unwrap();
    let answer = read_message(&mut stream).unwrap();
    assert_eq!(status(&answer), 101, "{answer}");
    without(&answer, &["X-Named", "Keep-Alive"]);
    assert_eq!(field(&answer, "Connection"), Some("Upgrade"), "{answer}");
    assert_eq!(field(&answer, "Upgrade"), Some("websocket"), "{answer}");
}

#[test]
fn each_hop_says_itself_whether_it_stays_open() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    for _ in 0..2 {
        let request = b"GET /public HTTP/1.1\r\nHost: app.example\r\n\r\n";
        stream.write_all(request).unwrap();
        let answer = read_message(&mut stream).unwrap();
        assert_eq!(status(&answer), 200);
        assert_eq!(field(&answer, "Connection"), Some("keep-alive"), "{answer}");
    }
    upstream.says("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
    let answer = ask(&gate, "GET", "1.1", "");
    assert_eq!(field(&answer, "Connection"), Some("close"), "{answer}");
    let answer = ask(&gate, "GET", "1.0", "");
    assert_eq!(field(&answer, "Connection"), Some("close"), "{answer}");
    let answer = ask(&gate, "GET", "1.0", "Connection: keep-alive, close\r\n");
    assert_eq!(field(&answer, "Connection"), Some("close"), "{answer}");
}

/// Over HTTP/1 only; see the limitations in `docs/http.md`.
#[test]
fn date_of_an_upstream_is_kept_and_added_where_it_has_none() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let long = format!("X-Long: {}\r\n", "x".repeat(5000));
    let framings = [
        "Content-Length: 2\r\n\r\nok",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ];
    for (more, framing) in [
        ("", framings[0]),
        ("X-Date: a\r\n", framings[1]),
        (&long, framings[0]),
    ] {
        upstream.says(&format!(
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n{more}date: {old}\r\n{framing}"
        ));
        for version in ["1.1", "1.0"] {
            let answer = ask(&gate, "GET", version, "");
            let (_, last) = answer.rsplit_once("HTTP/1.1 ").unwrap();
            assert_eq!(field(last, "Date"), Some(old), "{answer}");
            assert_eq!(last.to_lowercase().matches("\r\ndate: ").count(), 1);
            assert!(last.contains("ok"), "{answer}");
        }
    }
    // The next response on the same connection has its own date.
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    for date in [Some(old), None, Some("Sun, 06 Nov 1994 08:49:38 GMT")] {
        let line = date.map_or(String::new(), |date| format!("Date: {date}\r\n"));
        upstream.says(&format!(
            "HTTP/1.1 200 OK\r\n{line}Content-Length: 2\r\n\r\nok"
        ));
        let request = b"GET /public HTTP/1.1\r\nHost: app.example\r\n\r\n";
        stream.write_all(request).unwrap();
        let answer = read_message(&mut stream).unwrap();
        let said = field(&answer, "Date").unwrap();
        assert!(date.is_none_or(|date| date == said), "{answer}");
        assert_eq!(said.contains("1994"), date.is_some(), "{answer}");
    }
    // An invalid date, or two, count as none.
    for bad in [
        "Date: yesterday\r\n",
        &format!("Date: {old}\r\nDate: {old}\r\n"),
    ] {
        upstream.says(&format!(
            "HTTP/1.1 200 OK\r\n{bad}Content-Length: 2\r\n\r\nok"
        ));
        let answer = ask(&gate, "GET", "1.1", "");
        let said = field(&answer, "Date").unwrap();
        assert!(said.ends_with(" GMT") && !said.contains("1994"), "{answer}");
        assert_eq!(answer.to_lowercase().matches("\r\ndate: ").count(), 1);
    }
    let upstream = Upstream2::start(|respond| {
        let date = [("date", "Sun, 06 Nov 1994 08:49:37 GMT")];
        answer2(respond, 200, &date, b"ok", &[]);
    });
    let answer = ask(&upstream.gate(), "GET", "1.1", "");
    assert_eq!(field(&answer, "Date"), Some(old), "{answer}");
}

#[test]
fn version_is_that_of_the_hop() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    for version in ["1.1", "1.0"] {
        let answer = ask(&gate, "GET", version, "");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let heard = upstream.heard();
        assert!(
            heard[0].starts_with("GET /public HTTP/1.1\r\n"),
            "{heard:?}"
        );
    }
}

#[test]
fn trailers_are_announced_where_they_pass() {
    let upstream = Upstream2::start(|respond| {
        let announced = [("trailer", "x-checksum"), ("x-kept", "yes")];
        answer2(respond, 200, &announced, b"ok", &[("x-checksum", "1")]);
    });
    let gate = upstream.gate();
    let (parts, body, trailers) = ask2(&gate, Method::GET, &[], b"").unwrap();
    assert_eq!(
        (&*body, &parts.headers["trailer"]),
        (&b"ok"[..], &"x-checksum".parse().unwrap())
    );
    assert_eq!(trailers.unwrap()["x-checksum"], "1");
    let answer = ask(&gate, "GET", "1.1", "");
    without(&answer, &["Trailer", "X-Checksum"]);
    assert_eq!(field(&answer, "X-Kept"), Some("yes"), "{answer}");
    assert!(answer.ends_with("2\r\nok\r\n0\r\n\r\n"), "{answer}");
}

#[test]
fn whitespace_and_folds_of_a_response_are_normalized_and_controls_are_502() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    upstream.says(
        "HTTP/1.1 200 OK\r\nX-Space : a\r\nX-Fold: b\r\n c\r\n\td\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = ask(&gate, "GET", "1.1", "");
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains("\r\nx-space: a\r\n"), "{answer}");
    assert_eq!(field(&answer, "X-Fold"), Some("b c d"), "{answer}");
    let (parts, ..) = ask2(&gate, Method::GET, &[], b"").unwrap();
    assert_eq!(parts.headers["x-fold"], "b c d");
    for bad in ["X: a\0b", "X: a\rb", "no header", "\u{1}: a"] {
        upstream.says(&format!(
            "HTTP/1.1 200 OK\r\n{bad}\r\nContent-Length: 2\r\n\r\nok"
        ));
        let answer = ask(&gate, "GET", "1.1", "");
        assert_eq!(status(&answer), 502, "{bad:?} {answer}");
    }
    let log = gate.log();
    assert_eq!(log.matches("upstream_bad_answer").count(), 4, "{log}");
}

/// RFC 9110 §6.5.1: a recipient could take them for part of the framing, or for headers that count
/// before the content.
#[test]
fn headers_that_no_trailer_may_contain_are_removed_from_trailers() {
    let upstream = Upstream2::start(|respond| {
        let announced = [("trailer", "x-checksum, content-length, set-cookie")];
        let trailers = [
            ("x-checksum", "1"),
            ("content-length", "9"),
            ("content-type", "text/html"),
            ("content-encoding", "gzip"),
            ("content-range", "bytes 0-1/2"),
            ("set-cookie", "a=1"),
            ("cache-control", "public"),
            ("www-authenticate", "Basic"),
            ("authorization", "x"),
            ("host", "x"),
            ("trailer", "x"),
            ("location", "/x"),
            ("vary", "x"),
            ("grpc-status", "0"),
        ];
        answer2(respond, 200, &announced, b"ok", &trailers);
    });
    let gate = upstream.gate();
    let (_, body, trailers) = ask2(&gate, Method::GET, &[], b"").unwrap();
    assert_eq!(body, b"ok");
    let trailers = trailers.unwrap();
    let mut names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["grpc-status", "x-checksum"]);
    let answer = ask(&gate, "GET", "1.1", "TE: trailers\r\n");
    let end = "\r\n2\r\nok\r\n0\r\nx-checksum: 1\r\n\r\n";
    assert!(answer.ends_with(end), "{answer}");
}

/// Real clients read such a response to its end.
#[test]
fn response_with_a_length_in_its_trailers_is_complete_for_curl() {
    let upstream = Upstream2::start(|respond| {
        answer2(respond, 200, &[], b"ok", &[("content-length", "9")]);
    });
    let gate = upstream.gate();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let output = curl()
            .args([version, "-H", "TE: trailers"])
            .arg(format!("http://{}/public", gate.gateway))
            .output()
            .unwrap();
        assert!(output.status.success(), "{version}: {output:?}");
        assert_eq!(stdout(&output), "ok", "{version}");
    }
}
