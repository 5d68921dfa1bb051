//! HTTP/2 without TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{self, Gate, PATIENCE, Upstream, frames, raw, routes, stderr, stdout, until};

/// The connection preface with empty settings (RFC 9113 §3.4).
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn curl(at: SocketAddr, path: &str, args: &[&str]) -> Output {
    harness::curl()
        .arg("--http2-prior-knowledge")
        .args(["-w", "%{http_version} %{http_code}"])
        .args(args)
        .arg(format!("http://{at}{path}"))
        .output()
        .unwrap_or_else(|error| panic!("curl: {error}; run scripts/setup test"))
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn http2_without_tls_works_only_if_configured() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("h2c = true\n{}", routes(upstream.address)));
    let output = curl(gate.gateway, "/public/x", &[]);
    assert!(stdout(&output).ends_with("2 200"), "{}", stderr(&output));
    let output = curl(gate.gateway, "/x", &[]);
    assert_eq!(stdout(&output), "authentication required\n2 401");
    // Shorter than the HTTP/2 preface.
    assert_eq!(raw(gate.gateway, b"GET / HTTP/1.0\r\n\r\n").status, 401);
    let upgrade =
        b"GET /public/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(raw(gate.gateway, upgrade).status, 200);
    assert!(!upstream.seen().pop().unwrap().contains("h2c"));
    assert!(!curl(gate.service, "/healthz", &[]).status.success());
}

#[test]
fn slow_beginning_is_cut_and_so_is_an_idle_connection() {
    let gate = Gate::start("h2c = true\n[timeouts]\nheader = '1s'\nkeep_alive = '1s'\n");
    for part in [
        &BEGINNING[..0],
        &BEGINNING[..3],
        &BEGINNING[..23],
        BEGINNING,
    ] {
        let mut stream = connect(gate.gateway);
        stream.write_all(part).unwrap();
        let mut rest = Vec::new();
        // The end of the stream, not the timeout of the test.
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.is_empty(), part.len() < 24, "{rest:?}");
    }
}

#[test]
fn many_requests_share_a_connection_and_each_is_decided_on() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("h2c = true\n{}", routes(upstream.address)));
    let caller = gate.register("billing", "payments");
    let url = |path: &str| format!("http://{}{path}", gate.gateway);
    let output = Command::new("h2load")
        .args([
            "-n",
            "40",
            "-c",
            "1",
            "-m",
            "10",
            &url("/public/x"),
            &url("/x"),
        ])
        .output()
        .unwrap_or_else(|error| panic!("h2load: {error}; run scripts/setup test"));
    let text = stdout(&output);
    let expected = "status codes: 20 2xx, 0 3xx, 20 4xx, 0 5xx";
    assert!(text.contains(expected), "{text}{}", stderr(&output));
    assert_eq!(upstream.seen().len(), 20);
    let fields = caller.fields();
    let fields: Vec<&str> = fields
        .trim_end()
        .split("\r\n")
        .flat_map(|it| ["-H", it])
        .collect();
    assert!(stdout(&curl(gate.gateway, "/x", &fields)).ends_with("2 200"));
}

#[test]
fn shutdown_closes_an_idle_connection_at_once() {
    let mut gate =
        Gate::start("h2c = true\n[timeouts]\nkeep_alive = '1h'\n[shutdown]\ngrace = '1h'\n");
    let mut stream = connect(gate.gateway);
    stream.write_all(BEGINNING).unwrap();
    // The server's settings, and its acknowledgement.
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    gate.signal("TERM");
    until("the process ends", || {
        // A client responds to the ping between the two GOAWAY frames.
        gate.child.try_wait().unwrap().is_some() || answer_pings(&mut stream)
    });
}

/// Reads available frames and responds to pings (RFC 9113 §6.7). Always returns `false`.
fn answer_pings(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    if let Ok(read) = stream.read(&mut bytes) {
        let ping = bytes[..read]
            .windows(5)
            .position(|it| it == [0, 0, 8, 6, 0]);
        if let Some(ping) = ping {
            let mut answer = bytes[ping..ping + 17].to_vec();
            answer[4] = 1;
            let _ = stream.write_all(&answer);
        }
    }
    false
}

#[test]
fn too_many_malformed_requests_end_a_connection() {
    let gate = Gate::start("h2c = true\n");
    let mut stream = connect(gate.gateway);
    stream.write_all(BEGINNING).unwrap();
    // HEADERS with `:method GET`, `:scheme http`, `:path /` and no authority.
    for id in (1..4000u32).step_by(2) {
        let mut frame = vec![0, 0, 3, 1, 5];
        frame.extend(id.to_be_bytes());
        frame.extend([0x82, 0x86, 0x84]);
        if stream.write_all(&frame).is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest);
    assert!(ended.is_ok() || !rest.is_empty(), "{ended:?}");
    assert!(rest.len() < 16 * 1024, "{} bytes of answers", rest.len());
}

#[test]
fn rejected_upload_gets_its_response() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("h2c = true\n{}", routes(upstream.address)));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("upload");
    for length in [30_000, 500_000, 5_000_000] {
        std::fs::write(&file, vec![b'x'; length]).unwrap();
        let body = format!("@{}", file.display());
        let output = curl(gate.gateway, "/x", &["--data-binary", &body]);
        assert_eq!(
            stdout(&output),
            "authentication required\n2 401",
            "{}",
            stderr(&output)
        );
        let output = curl(gate.gateway, "/public/x", &["--data-binary", &body]);
        assert!(stdout(&output).ends_with("2 200"), "{}", stderr(&output));
    }
    assert_eq!(upstream.seen().len(), 3);
}

#[test]
fn crumbs_of_a_cookie_are_joined() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("h2c = true\n{}", routes(upstream.address)));
    let output = Command::new("nghttp")
        .args(["-H", "cookie: a=1", "-H", "cookie: b=2", "--no-verify-peer"])
        .arg(format!("http://{}/public/x", gate.gateway))
        .output()
        .unwrap_or_else(|error| panic!("nghttp: {error}; run scripts/setup test"));
    assert!(output.status.success(), "{}", stderr(&output));
    let seen = upstream.seen().pop().unwrap();
    assert_eq!(harness::field(&seen, "Cookie"), Some("a=1; b=2"));
    assert_eq!(seen.to_lowercase().matches("cookie:").count(), 1);
}

#[test]
fn request_that_began_in_time_gets_no_goaway() {
    let delay = Duration::from_secs(4);
    let upstream = Upstream::start_slow(delay);
    let routes = routes(upstream.address);
    let gate = Gate::start(&format!(
        "h2c = true\n[timeouts]\nkeep_alive = '3s'\n{routes}"
    ));
    let get = |stream, path| {
        let mut bytes = Vec::new();
        let block = frames::block(&frames::request("GET", "a", path));
        let flags = frames::END_HEADERS | frames::END_STREAM;
        frames::frame(&mut bytes, frames::HEADERS, flags, stream, &block);
        bytes
    };
    let is_end = |frame: &frames::Frame| {
        matches!(frame.kind, frames::DATA | frames::HEADERS)
            && frame.flags & frames::END_STREAM != 0
    };
    // On a busy machine, the second request may come too late.
    for _ in 0..5 {
        let mut stream = frames::connect(gate.gateway, &[]);
        stream.write_all(&get(1, "/ops")).unwrap();
        while !is_end(&frames::read(&mut stream).unwrap()) {}
        let ended = Instant::now();
        thread::sleep(Duration::from_secs(1));
        stream.write_all(&get(3, "/public")).unwrap();
        if ended.elapsed() > Duration::from_millis(2500) {
            continue;
        }
        loop {
            let frame = frames::read(&mut stream).unwrap();
            assert_ne!(frame.kind, frames::GOAWAY);
            if is_end(&frame) {
                return;
            }
        }
    }
    panic!("the machine is too busy");
}

/// Parts of frames without which nothing else on the connection can be read.
fn unfinished_frames() -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
    let continuation: &[u8] = b"\0\0\x01\x09\0\0\0\0\x03\x82";
    vec![
        (
            "a header frame",
            b"\0\0\x10\x01\x05\0\0\0\x03\x82".to_vec(),
            b"",
        ),
        ("its head", b"\0\0\x10\x01".to_vec(), b""),
        ("drips", b"\0\x10\0\x01\x05\0\0\0\x03\x82".to_vec(), b"\x84"),
        (
            "no continuation",
            b"\0\0\x01\x01\x01\0\0\0\x03\x82".to_vec(),
            b"",
        ),
        (
            "more continuations",
            b"\0\0\x01\x01\x01\0\0\0\x03\x82".to_vec(),
            continuation,
        ),
        ("settings", b"\0\0\x06\x04\0\0\0\0\0\0".to_vec(), b""),
        ("a ping", b"\0\0\x08\x06\0\0\0\0\0x".to_vec(), b""),
    ]
}

/// A request under way on the same connection makes no difference.
#[test]
fn header_over_http2_that_is_not_complete_in_time_ends_the_connection() {
    let upstream = Upstream::start_slow(3 * PATIENCE);
    let routes = routes(upstream.address);
    let variables = [("REALMGATE_SERVICE_H2C", "true")];
    let more = format!("h2c = true\n[timeouts]\nheader = '1s'\n{routes}");
    let gate = Gate::start_with(&variables, &more);
    let mut threads = Vec::new();
    for (at, is_busy) in [
        (gate.service, false),
        (gate.gateway, false),
        (gate.gateway, true),
    ] {
        for (name, begun, more) in unfinished_frames() {
            let mut stream = frames::connect(at, &[]);
            let mut bytes = Vec::new();
            if is_busy {
                let block = frames::block(&frames::request("GET", "a", "/public"));
                let flags = frames::END_HEADERS | frames::END_STREAM;
                frames::frame(&mut bytes, frames::HEADERS, flags, 1, &block);
            }
            bytes.extend(begun);
            stream.write_all(&bytes).unwrap();
            threads.push(thread::spawn(move || {
                let began = Instant::now();
                let pause = Duration::from_millis(100);
                stream.set_read_timeout(Some(pause)).unwrap();
                let mut buffer = [0; 1024];
                loop {
                    assert!(began.elapsed() < PATIENCE, "{name}: still open, {is_busy}");
                    match stream.read(&mut buffer) {
                        Ok(0) => return,
                        Ok(_) => continue,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(_) => return,
                    }
                    if stream.write_all(more).is_err() {
                        return;
                    }
                }
            }));
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

/// A body has deadlines of its own.
#[test]
fn data_frame_may_take_longer_than_a_header() {
    let upstream = Upstream::start();
    let routes = routes(upstream.address);
    let gate = Gate::start(&format!(
        "h2c = true\n[timeouts]\nheader = '1s'\n[limits]\nbody_rate = 1\n{routes}"
    ));
    let mut stream = frames::connect(gate.gateway, &[]);
    let mut bytes = Vec::new();
    let block = frames::block(&frames::request("POST", "a", "/public"));
    frames::frame(&mut bytes, frames::HEADERS, frames::END_HEADERS, 1, &block);
    frames::frame(&mut bytes, frames::DATA, frames::END_STREAM, 1, b"abcdefgh");
    let (first, last) = bytes.split_at(bytes.len() - 8);
    stream.write_all(first).unwrap();
    for byte in last {
        thread::sleep(Duration::from_millis(400));
        stream.write_all(&[*byte]).unwrap();
    }
    let mut status = None;
    while let (None, Some(frame)) = (status, frames::read(&mut stream)) {
        if frame.kind == frames::HEADERS {
            status = frames::status_of(&frame.payload);
        }
    }
    assert_eq!(status, Some(200));
}
