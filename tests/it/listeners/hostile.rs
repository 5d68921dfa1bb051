//! HTTP/2 frames that are meant to confuse, hold or flood the gateway.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, Field, GOAWAY, HEADERS, HOSTILE, RST_STREAM, ask, block,
    connect, credential, frame, read, request,
};
use crate::harness::tape::Tape;
use crate::harness::{Gate, PATIENCE, Upstream, field, get, routes, until};

fn gate() -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("h2c = true\n{}", routes(upstream.address)));
    (gate, upstream)
}

#[test]
fn host_has_one_reading() {
    let (gate, upstream) = gate();
    let token = gate.register("billing", "payments").token();
    // `admin.example` is for the realm `ops`.
    for (authority, hosts, passes) in [
        (Some("app.example"), &[][..], true),
        (Some("app.example"), &["app.example"], true),
        (None, &["app.example"], true),
        (Some("app.example"), &["admin.example"], false),
        (Some("admin.example"), &["app.example"], false),
        (
            Some("app.example"),
            &["app.example", "admin.example"],
            false,
        ),
        (None, &["admin.example"], false),
        (None, &["app.example", "admin.example"], false),
        (Some(""), &["admin.example"], false),
        (Some("ADMIN.example."), &[], false),
        (Some("admin.example:443"), &[], false),
        (Some("app.example@admin.example"), &[], false),
        (Some("app.example,admin.example"), &[], false),
        (Some("app.example\r\nHost: admin.example"), &[], false),
        (None, &[], false),
    ] {
        let plain = request("GET", "", "/api");
        let plain = plain.iter().filter(|it| it.0 != ":authority").copied();
        let mut fields: Vec<Field> = plain.collect();
        fields.extend(authority.map(|it| (":authority", it)));
        fields.extend(hosts.iter().map(|it| ("host", *it)));
        fields.extend(credential(&token));
        let before = upstream.seen().len();
        let status = ask(gate.gateway, &fields, b"", &[]);
        let seen = upstream.seen();
        assert_eq!(
            status == Some(200),
            passes,
            "{authority:?} {hosts:?}: {status:?}"
        );
        assert_eq!(seen.len() > before, passes, "{authority:?} {hosts:?}");
        if let (true, Some(seen)) = (passes, seen.last()) {
            assert_eq!(field(seen, "Host"), Some("app.example"), "{seen}");
            assert_eq!(
                seen.to_lowercase().matches("\r\nhost:").count(),
                1,
                "{seen}"
            );
        }
    }
}

#[test]
fn pseudo_fields_and_fields_smuggle_nothing() {
    let (gate, upstream) = gate();
    let base = request("GET", "app.example", "/public/x");
    for (name, value) in HOSTILE.into_iter().chain([(":method", "TRACE")]) {
        let others = base.into_iter().filter(|it| it.0 != name);
        let fields: Vec<_> = [(name, value)].into_iter().chain(others).collect();
        ask(gate.gateway, &fields, b"", &[]);
    }
    for (name, value) in [
        ("x-auth-name", "root"),
        ("X-Auth-Name", "root"),
        ("x_auth_name", "root"),
        ("x-auth-name: root\r\nx", "y"),
        ("x-other", "y\r\nX-Auth-Name: root"),
        ("x-other", "y\nX-Auth-Name: root"),
        (
            "x-other",
            "y\r\n\r\nGET /ops/x HTTP/1.1\r\nX-Auth-Name: root",
        ),
        ("", "root"),
        (":path", "/ops/x"),
        ("connection", "x-forwarded-for"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("upgrade", "h2c"),
    ] {
        let fields = [&base[..], &[(name, value)]].concat();
        ask(gate.gateway, &fields, b"", &[]);
        let post = request("POST", "app.example", "/public/x");
        let hidden = b"0\r\n\r\nGET /ops/hidden HTTP/1.1\r\nHost: app.example\r\n\r\n";
        ask(
            gate.gateway,
            &[&post[..], &[(name, value)]].concat(),
            hidden,
            &[],
        );
        ask(gate.gateway, &post, b"body", &[(name, value)]);
    }
    assert_eq!(ask(gate.gateway, &base, b"", &[]), Some(200));
    for seen in upstream.seen() {
        let target = seen.split(' ').nth(1).unwrap();
        assert!(target.starts_with("/public/x"), "{seen}");
        assert_eq!(field(&seen, "Host"), Some("app.example"), "{seen}");
        assert!(!seen.contains("root"), "{seen}");
    }
}

/// Returns whether the upstream has a request in progress.
fn in_flight(gate: &Gate) -> bool {
    let metrics = get(gate.metrics(), "/metrics", "").body;
    !metrics.contains("realmgate_upstream_requests_in_flight{upstream=\"app\"} 0\n")
}

/// Reads until a frame of this kind arrives, or the connection ends.
fn hears(stream: &mut TcpStream, kind: u8) -> bool {
    while let Some(frame) = read(stream) {
        if frame.kind == kind {
            return true;
        }
    }
    false
}

#[test]
fn client_that_reads_no_response_is_disconnected() {
    let tape = Tape::playing(|connection| {
        connection.read_to(0, b"\r\n\r\n");
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while connection.write(&[b'x'; 1000]) {}
        connection.note("nobody listens");
    });
    let gate = Gate::start(&format!(
        "h2c = true\n[timeouts]\nwrite = '1s'\nkeep_alive = '1s'\n{}",
        tape.routes()
    ));
    // Its window never opens.
    let mut stream = connect(gate.gateway, &[(4, 0)]);
    let mut bytes = Vec::new();
    let fields = block(&request("GET", "a", "/public/x"));
    frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, 1, &fields);
    stream.write_all(&bytes).unwrap();
    assert!(hears(&mut stream, RST_STREAM));
    until("the upstream is let go", || {
        tape.heard().contains("nobody listens") && !in_flight(&gate)
    });
    assert!(hears(&mut stream, GOAWAY) || read(&mut stream).is_none());
    assert!(!gate.log().contains("WARN"), "{}", gate.log());
}

#[test]
fn client_that_reads_no_response_over_http1_is_disconnected() {
    let tape = Tape::playing(|connection| {
        connection.read_to(0, b"\r\n\r\n");
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 400000000\r\n\r\n");
        for _ in 0..4000 {
            if !connection.write(&[b'x'; 100_000]) {
                return connection.note("nobody listens");
            }
        }
    });
    let gate = Gate::start(&format!("[timeouts]\nwrite = '1s'\n{}", tape.routes()));
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    stream
        .write_all(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    until("the upstream is let go", || {
        tape.heard().contains("nobody listens") && !in_flight(&gate)
    });
    drop(stream);
}

#[test]
fn body_that_stops_ends_with_the_patience_of_the_upstream() {
    let tape = Tape::playing(|connection| {
        connection.read_to(0, b"never");
    });
    let gate = Gate::start(&format!(
        "h2c = true\n[timeouts]\ndrain = '300ms'\n{}read_timeout = '500ms'\n",
        tape.routes()
    ));
    let fields = request("POST", "a", "/public/x");
    let mut stream = connect(gate.gateway, &[]);
    let mut bytes = Vec::new();
    frame(&mut bytes, HEADERS, END_HEADERS, 1, &block(&fields));
    stream.write_all(&bytes).unwrap();
    assert!(hears(&mut stream, HEADERS));
    until("nothing is under way", || !in_flight(&gate));
    assert!(gate.log().contains("504"), "{}", gate.log());
}

/// Sends the beginning of a header, without END_HEADERS.
fn begin_header(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    let fields = block(&request("GET", "a", "/"));
    frame(&mut bytes, HEADERS, END_STREAM, 1, &fields);
    stream.write_all(&bytes).unwrap();
}

#[test]
fn header_that_never_ends_is_cut() {
    let gate = Gate::start("h2c = true\n[timeouts]\nheader = '1s'\nkeep_alive = '1s'\n");
    let mut stream = connect(gate.gateway, &[]);
    begin_header(&mut stream);
    let started = Instant::now();
    let mut piece = Vec::new();
    frame(&mut piece, CONTINUATION, 0, 1, &block(&[("x", "y")]));
    // Until the connection is closed, at a rate that no byte limit would reach for hours.
    while stream.write_all(&piece).is_ok() {
        assert!(started.elapsed() < PATIENCE, "still open");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn flood_of_continued_header_ends_its_connection() {
    let gate = Gate::start("h2c = true\n");
    let mut stream = connect(gate.gateway, &[]);
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    begin_header(&mut stream);
    let mut piece = Vec::new();
    let field = ("x-padding", "0123456789012345678901234567890123456789");
    frame(&mut piece, CONTINUATION, 0, 1, &block(&[field; 300]));
    let mut sent = 0;
    while stream.write_all(&piece).is_ok() {
        sent += piece.len();
        assert!(sent < 64 << 20, "still open");
    }
}

/// Each stream is opened and reset at once (CVE-2023-44487).
#[test]
fn reset_streams_leave_nothing_behind_and_delay_no_other() {
    let (gate, _upstream) = gate();
    let mut stream = connect(gate.gateway, &[]);
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let fields = block(&request("GET", "app.example", "/public/x"));
    let flood = thread::spawn(move || {
        for id in (1..20_000_u32).step_by(2) {
            let mut bytes = Vec::new();
            frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, id, &fields);
            frame(&mut bytes, RST_STREAM, 0, id, &8_u32.to_be_bytes());
            if stream.write_all(&bytes).is_err() {
                break;
            }
        }
        stream
    });
    for _ in 0..20 {
        assert_eq!(get(gate.gateway, "/public/good", "").status, 200);
    }
    let stream = flood.join().unwrap();
    until("nothing is under way", || !in_flight(&gate));
    drop(stream);
    assert_eq!(get(gate.gateway, "/public/good", "").status, 200);
}
