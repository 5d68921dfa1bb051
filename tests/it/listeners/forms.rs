//! Requests of unusual form that RFC 9110, RFC 9112 and RFC 9113 ask servers to read or to reject, at
//! both listeners.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::tls;
use crate::harness::certificate::Ca;
use crate::harness::frames::{
    self, CONTINUATION, END_HEADERS, END_STREAM, Field, GOAWAY, HEADERS, block, frame, request,
};
use crate::harness::{Gate, PATIENCE, Reply, Upstream, field, raw, routes, stdout, until};

const BOTH: [(&str, &str); 1] = [("REALMGATE_SERVICE_H2C", "true")];

/// A gateway whose listeners both accept HTTP/2 without TLS.
fn gate() -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let more = format!("h2c = true\n{}", routes(upstream.address));
    (Gate::start_with(&BOTH, &more), upstream)
}

/// The address of each listener, and a path that it serves to anyone.
fn listeners(gate: &Gate) -> [(SocketAddr, &'static str); 2] {
    [(gate.gateway, "/public/x"), (gate.service, "/healthz")]
}

/// Sends a request with this request line after the method, and these headers.
fn ask(at: SocketAddr, line: &str, fields: &str) -> Reply {
    raw(
        at,
        format!("{line}\r\n{fields}Connection: close\r\n\r\n").as_bytes(),
    )
}

/// RFC 9110 §2.5.
#[test]
fn newer_minor_version_is_read_as_http11() {
    let (gate, upstream) = gate();
    for (at, path) in listeners(&gate) {
        for version in ["1.2", "1.9"] {
            let line = format!("GET {path} HTTP/{version}");
            let reply = ask(at, &line, "Host: a\r\n");
            assert_eq!(reply.status, 200, "{line}");
            assert!(reply.head.starts_with("HTTP/1.1 "), "{reply:?}");
            assert_eq!(ask(at, &line, "").status, 400, "{line}");
        }
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    assert!(
        seen[0].starts_with("GET /public/x HTTP/1.1\r\n"),
        "{seen:?}"
    );
    assert_eq!(field(&seen[0], "Via"), Some("1.1 realmgate"));
}

/// RFC 9110 §15.6.6.
#[test]
fn other_major_version_is_505() {
    let (gate, upstream) = gate();
    for (at, path) in listeners(&gate) {
        for version in ["2.0", "3.0", "0.9"] {
            let reply = ask(at, &format!("GET {path} HTTP/{version}"), "Host: a\r\n");
            assert_eq!(reply.status, 505, "{version}");
            assert_eq!(reply.field("Connection"), Some("close"));
        }
        for version in ["HTTP/2", "HTTP/1.11", "http/1.1", "HTTP/x.1", "HTTPS/1.1"] {
            let reply = ask(at, &format!("GET {path} {version}"), "Host: a\r\n");
            assert_eq!(reply.status, 400, "{version}");
        }
    }
    assert_eq!(upstream.seen(), [""; 0]);
    let log = gate.log();
    assert_eq!(log.matches("reason=\"bad_version\"").count(), 6, "{log}");
}

/// RFC 9112 §6.1.
#[test]
fn unknown_transfer_coding_is_501_and_one_in_doubt_is_400() {
    let (gate, upstream) = gate();
    for (at, path) in listeners(&gate) {
        for (coding, expected) in [
            ("gzip", 501),
            ("gzip, chunked", 501),
            ("xchunked", 501),
            ("chunked, gzip", 400),
            ("chunked, chunked", 400),
            (",chunked", 400),
            ("\"chunked\"", 400),
        ] {
            let fields = format!("Host: a\r\nTransfer-Encoding: {coding}\r\n");
            let reply = ask(at, &format!("POST {path} HTTP/1.1"), &fields);
            assert_eq!(reply.status, expected, "{coding}");
            assert_eq!(reply.field("Connection"), Some("close"));
        }
    }
    assert_eq!(upstream.seen(), [""; 0]);
    let log = gate.log();
    assert_eq!(log.matches("reason=\"unknown_coding\"").count(), 6, "{log}");
}

#[test]
fn size_of_a_chunk_may_begin_with_zeros() {
    let (gate, upstream) = gate();
    let body = format!("{}2\r\nab\r\n{}\r\n\r\n", "0".repeat(17), "0".repeat(17));
    for (at, path) in listeners(&gate) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        );
        assert_eq!(raw(at, request.as_bytes()).status, 200);
    }
    assert_eq!(upstream.seen().len(), 1);
}

/// RFC 9110 §9.1. Some servers read `get` as `GET`.
#[test]
fn method_is_any_token_without_lower_case_letters() {
    let (gate, upstream) = gate();
    let methods = ["M-SEARCH", "VERSION-CONTROL", "X_1.0", "!#$%&'*+-.^_`|~9"];
    for method in methods {
        for (at, path) in listeners(&gate) {
            let reply = ask(at, &format!("{method} {path} HTTP/1.1"), "Host: a\r\n");
            assert_eq!(reply.status, 200, "{method}");
            let fields = request(method, "a", path);
            assert_eq!(frames::ask(at, &fields, b"", &[]), Some(200), "{method}");
        }
        let seen = upstream.seen();
        for seen in &seen[seen.len() - 2..] {
            assert!(seen.starts_with(&format!("{method} /public/x ")), "{seen}");
        }
    }
    for method in ["get", "Get", "x"] {
        for (at, path) in listeners(&gate) {
            let reply = ask(at, &format!("{method} {path} HTTP/1.1"), "Host: a\r\n");
            assert_eq!(reply.status, 400, "{method} {path}");
            let fields = request(method, "a", path);
            assert_eq!(frames::ask(at, &fields, b"", &[]), Some(400), "{path}");
        }
    }
    assert_eq!(upstream.seen().len(), 2 * methods.len());
}

/// RFC 3986 §3.2.2.
#[test]
fn host_name_may_contain_a_plus() {
    let (gate, upstream) = gate();
    for (at, path) in listeners(&gate) {
        let reply = ask(at, &format!("GET {path} HTTP/1.1"), "Host: a+b.example\r\n");
        assert_eq!(reply.status, 200, "{path}");
        let fields = request("GET", "a+b.example", path);
        assert_eq!(frames::ask(at, &fields, b"", &[]), Some(200), "{path}");
    }
    for seen in upstream.seen() {
        assert_eq!(field(&seen, "Host"), Some("a+b.example"), "{seen}");
    }
}

/// RFC 9112 §3.2: a client without an authority sends an empty `Host`.
#[test]
fn empty_host_is_that_of_no_route_and_the_upstream_gets_its_own() {
    let (gate, upstream) = gate();
    for (at, path) in listeners(&gate) {
        for host in ["Host:", "Host: ", "host:\t"] {
            let reply = ask(at, &format!("GET {path} HTTP/1.1"), &format!("{host}\r\n"));
            assert_eq!(reply.status, 200, "{path} {host:?}");
        }
        let twice = "Host:\r\nHost:\r\n";
        let status = ask(at, &format!("GET {path} HTTP/1.1"), twice).status;
        assert_eq!(status, 400);
    }
    let peer = upstream.address.to_string();
    let seen = upstream.seen();
    assert_eq!(seen.len(), 3);
    for seen in seen {
        assert_eq!(field(&seen, "Host"), Some(&*peer), "{seen}");
        assert_eq!(seen.to_lowercase().matches("\nhost:").count(), 1, "{seen}");
        assert_eq!(field(&seen, "X-Forwarded-Host"), None, "{seen}");
    }
    for target in ["http://a/public/x", "http://admin.example/public/x"] {
        let reply = ask(gate.gateway, &format!("GET {target} HTTP/1.1"), "Host:\r\n");
        assert_eq!(reply.status, 400, "{target}");
    }
}

/// RFC 9110 §9.3.7.
#[test]
fn options_of_the_whole_server_are_answered_at_the_proxy_and_by_nobody_else() {
    let (gate, upstream) = gate();
    let options = |at| ask(at, "OPTIONS * HTTP/1.1", "Host: a\r\n");
    let reply = options(gate.gateway);
    assert_eq!((reply.status, &*reply.body), (200, ""));
    assert!(reply.field("Allow").unwrap().contains("OPTIONS"));
    let two = |at, host| frames::ask(at, &request("OPTIONS", host, "*"), b"", &[]);
    assert_eq!(two(gate.gateway, "a"), Some(200));
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "20", "--request", "OPTIONS"])
        .args(["--request-target", "*", "--include"])
        .arg(format!("http://{}", gate.gateway))
        .output()
        .unwrap();
    assert!(stdout(&output).starts_with("HTTP/1.1 200 "), "{output:?}");
    // A 200 of the service listener could be taken for a permit.
    assert_eq!(options(gate.service).status, 400);
    assert_eq!(two(gate.service, "a"), Some(400));
    for (line, fields) in [
        ("OPTIONS * HTTP/1.1", ""),
        ("OPTIONS * HTTP/1.1", "Host: a b\r\n"),
        ("OPTIONS * HTTP/1.1", "Host: a\r\nHost: b\r\n"),
        ("GET * HTTP/1.1", "Host: a\r\n"),
        ("OPTIONS *x HTTP/1.1", "Host: a\r\n"),
        ("OPTIONS */ HTTP/1.1", "Host: a\r\n"),
    ] {
        let reply = ask(gate.gateway, line, fields);
        assert_eq!(reply.status, 400, "{line} {fields}");
    }
    assert_eq!(upstream.seen(), [""; 0]);
    let own = Gate::start(&format!("serve_api = true\n{}", routes(upstream.address)));
    assert_eq!(options(own.gateway).status, 400);
}

/// RFC 9112 §9.6: netcat with `-N` and similar clients do so.
#[test]
fn half_closed_client_gets_the_response_of_the_upstream() {
    let upstream = Upstream::start_slow(Duration::from_millis(100));
    let gate = Gate::start(&routes(upstream.address));
    let get = "GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    for (request, expected) in [(get, 1), (post, 1), (&[get, post, get].concat(), 3)] {
        let mut stream = TcpStream::connect(gate.gateway).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), expected, "{text}");
    }
    assert_eq!(upstream.seen().len(), 5);
}

#[test]
fn http_on_a_port_with_tls_is_400_in_cleartext() {
    let ca = Ca::new();
    let server = ca.issue("server", "/CN=server", "DNS:app.example");
    let upstream = Upstream::start();
    let config = tls(&[&server], "", &routes(upstream.address));
    let gate = Gate::start_with(&[("REALMGATE_SERVICE_TLS", "true")], &config);
    let began = Instant::now();
    for (at, path) in listeners(&gate) {
        for begin in [
            format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ] {
            let reply = raw(at, begin.as_bytes());
            assert!(
                reply.head.starts_with("HTTP/1.1 400 Bad Request\r\n"),
                "{reply:?}"
            );
            assert_eq!(reply.field("Connection"), Some("close"));
            assert_eq!(reply.body, "this port speaks TLS: use https\n");
        }
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "20"])
            .arg(format!("http://{at}{path}"))
            .output()
            .unwrap();
        assert_eq!(stdout(&output), "this port speaks TLS: use https\n");
    }
    assert_eq!(upstream.seen(), [""; 0]);
    let log = gate.log();
    let line = "connection rejected reason=\"plain_http\" peer=127.0.0.1:";
    // One line in ten seconds.
    let most = began.elapsed().as_secs() / 10 + 1;
    assert!(
        (1..=most).contains(&(log.matches(line).count() as u64)),
        "{log}"
    );
}

/// Sends one HTTP/2 request whose header has `size` bytes of padding. Returns the status; `None` if
/// the connection ends without one.
fn padded(at: SocketAddr, path: &str, size: usize) -> Option<u16> {
    let value = "x".repeat(100);
    let mut fields: Vec<Field> = request("GET", "a", path).to_vec();
    fields.extend(vec![("x-padding", &*value); size / (100 + 9 + 32)]);
    let block = block(&fields);
    let mut parts = block.chunks(16_000);
    let last = parts.len() - 1;
    let mut bytes = Vec::new();
    for at in 0..=last {
        let (kind, flags) = match at {
            0 => (HEADERS, END_STREAM),
            _ => (CONTINUATION, 0),
        };
        let flags = if at == last {
            flags | END_HEADERS
        } else {
            flags
        };
        frame(&mut bytes, kind, flags, 1, parts.next().unwrap());
    }
    let mut stream = frames::connect(at, &[]);
    let _ = stream.write_all(&bytes);
    while let Some(frame) = frames::read(&mut stream) {
        match frame.kind {
            HEADERS => return frames::status_of(&frame.payload),
            GOAWAY => return None,
            _ => {}
        }
    }
    None
}

/// Returns whether the log has this number of lines that say why, and of access lines.
fn has_lines(gate: &Gate, count: usize) -> bool {
    let log = gate.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let (access, others): (Vec<Value>, Vec<Value>) =
        lines.partition(|line: &Value| line["target"] == "access");
    let access = access.iter().filter(|line| line["status"] == 431);
    let others = others
        .iter()
        .filter(|line| line["reason"] == "header_too_large");
    access.count() == count && others.count() == count
}

/// RFC 6585 §5.
#[test]
fn header_list_beyond_any_limit_has_an_access_line() {
    let upstream = Upstream::start();
    let more = format!(
        "h2c = true\n[limits]\nheader_bytes = 4096\n{}",
        routes(upstream.address)
    );
    let environment = [
        BOTH[0],
        ("REALMGATE_LOG_ACCESS", "all"),
        ("REALMGATE_LOG_FORMAT", "json"),
    ];
    let gate = Gate::start_with(&environment, &more);
    let mut count = 0;
    for (at, path) in listeners(&gate) {
        assert_eq!(padded(at, path, 3000), Some(200));
        // Up to four times the limit the request line is known, up to 64 KiB h2 responds.
        for size in [6000, 20_000, 60_000] {
            assert_eq!(padded(at, path, size), Some(431), "{size}");
            count += 1;
            until("the lines of each", || has_lines(&gate, count));
        }
        // Beyond that, the connection ends.
        assert_eq!(padded(at, path, 200_000), None);
        count += 1;
        until("the lines of that one", || has_lines(&gate, count));
    }
    assert_eq!(upstream.seen().len(), 1);
}

/// RFC 9113 §8.2.1.
#[test]
fn malformed_header_over_http2_is_rejected_at_every_listener() {
    let (gate, upstream) = gate();
    for (at, path) in listeners(&gate) {
        let base = request("POST", "a", path);
        for field in [
            ("x-a", " b"),
            ("x-a", "b "),
            ("x-a", "\tb"),
            ("x-a", "b\t"),
            ("x-a", " "),
            ("x\"a", "b"),
            ("\"", "b"),
        ] {
            let fields = [&base[..], &[field]].concat();
            for body in [&b""[..], b"body"] {
                let status = frames::ask(at, &fields, body, &[]);
                assert_eq!(status, Some(400), "{field:?}");
            }
        }
        for field in [("x-a", "b c\td"), ("x-a", ""), ("x'a", "b")] {
            let fields = [&base[..], &[field]].concat();
            assert_eq!(frames::ask(at, &fields, b"", &[]), Some(200), "{field:?}");
        }
    }
    assert_eq!(upstream.seen().len(), 3);
    let log = gate.log();
    assert_eq!(log.matches("reason=\"bad_header\"").count(), 28, "{log}");
}

/// RFC 9113 §8.7: a client may send a refused request again.
#[test]
fn stream_with_a_body_over_the_limit_is_rejected_first() {
    const REFUSED: u32 = 7;
    let upstream = Upstream::start();
    let more = format!(
        "h2c = true\n[limits]\nstreams = 8\n{}",
        routes(upstream.address)
    );
    let gate = Gate::start_with(&BOTH, &more);
    for (at, path) in listeners(&gate) {
        let mut bytes = Vec::new();
        for id in (1..200).step_by(2) {
            let fields = block(&request("POST", "a", path));
            frame(&mut bytes, HEADERS, END_HEADERS, id, &fields);
            frame(&mut bytes, frames::DATA, 0, id, b"body");
        }
        let mut stream = frames::connect(at, &[]);
        stream.write_all(&bytes).unwrap();
        let mut first = std::collections::HashMap::new();
        while first.len() < 92 {
            let read = frames::read(&mut stream).unwrap();
            if read.kind == frames::RST_STREAM {
                let code = u32::from_be_bytes(read.payload.try_into().unwrap());
                first.entry(read.stream).or_insert(code);
            }
        }
        assert!(first.values().all(|code| *code == REFUSED), "{first:?}");
    }
}

/// RFC 9113 §8.1: h2 drops them, and realmgate drops all trailers of requests.
#[test]
fn pseudo_header_in_a_trailer_changes_nothing() {
    let (gate, upstream) = gate();
    let base = request("POST", "a", "/public/x");
    for trailer in [(":path", "/ops"), (":method", "GET"), (":status", "200")] {
        let status = frames::ask(gate.gateway, &base, b"body", &[trailer]);
        assert!(matches!(status, None | Some(200)), "{trailer:?} {status:?}");
    }
    for seen in upstream.seen() {
        assert!(seen.starts_with("POST /public/x "), "{seen}");
        assert!(!seen.contains("ops"), "{seen}");
    }
}
