//! The service listener, which hyper serves: what clients notice of the driver below and around it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::Open;
use crate::harness::certificate::Ca;
use crate::harness::frames::{self, GOAWAY};
use crate::harness::{Gate, PATIENCE};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a request and returns everything up to the end of the connection.
fn answers(at: SocketAddr, request: &str) -> String {
    let mut stream = connect(at);
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn statuses(text: &str) -> Vec<&str> {
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|it| it.split(' ').next()).collect()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let gate = Gate::start("");
    let verify = |token: &str| {
        let body = format!("{{\"token\":\"{token}\"}}");
        format!(
            "POST /ungleichotp/verify/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let (one, other) = (verify("1"), verify(&"2".repeat(6000)));
    let unknown = "GET /forward-auth HTTP/1.1\r\nHost: a\r\n\r\n";
    let text = answers(
        gate.service,
        &format!("{HEALTH}\r\n{one}{unknown}{other}{HEALTH}{LAST}{HEALTH}"),
    );
    assert_eq!(
        statuses(&text),
        ["200", "403", "401", "403", "200", "200"],
        "{text}"
    );
}

#[test]
fn request_behind_one_that_is_rejected_is_not_read() {
    let gate = Gate::start("");
    for rejected in [
        "GET /healthz HTTP/1.1\nHost: a\r\n\r\n",
        "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET  /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let text = answers(gate.service, &format!("{HEALTH}{rejected}{HEALTH}"));
        assert_eq!(statuses(&text), ["200", "400"], "{rejected}\n{text}");
        assert!(text.contains("connection: close\r\n"), "{text}");
    }
}

#[test]
fn body_in_chunks_is_read_to_the_letter() {
    let gate = Gate::start("");
    let request = |body: &str| {
        format!(
            "POST /ungleichotp/verify/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{body}"
        )
    };
    for body in [
        "2\r\n{}\r\n0\r\n\r\n",
        "002;a=\"b;c\"\r\n{}\r\n0\r\nA: b\r\n\r\n",
    ] {
        let text = answers(gate.service, &format!("{}{LAST}", request(body)));
        assert_eq!(statuses(&text), ["403", "200"], "{body:?}\n{text}");
    }
    for body in [
        "\r\n{}\r\n0\r\n\r\n",
        ";x\r\n{}\r\n0\r\n\r\n",
        "2 \r\n{}\r\n0\r\n\r\n",
        "2;\n{}\r\n0\r\n\r\n",
        "2;a\0\r\n{}\r\n0\r\n\r\n",
        "2;a=\"b\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}\r\n0\r\nA b\r\n\r\n",
    ] {
        let text = answers(gate.service, &format!("{}{HEALTH}", request(body)));
        assert_eq!(statuses(&text), ["400"], "{body:?}\n{text}");
    }
}

#[test]
fn half_closed_client_gets_its_response() {
    let gate = Gate::start("");
    let mut stream = connect(gate.service);
    stream.write_all(HEALTH.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("ok\n"), "{text}");
}

#[test]
fn body_that_nobody_reads_does_not_end_the_connection() {
    let gate = Gate::start("");
    let mut stream = connect(gate.service);
    let length = 200_000;
    let head =
        format!("POST /forward-auth HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b'x'; length]).unwrap();
    stream.write_all(LAST.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(statuses(&text), ["401", "200"], "{text}");
}

#[test]
fn connection_is_served_again_however_long_it_was_idle() {
    let gate = Gate::start("");
    let mut stream = connect(gate.service);
    let mut reply = [0; 512];
    for pause in [0, 50, 150, 400] {
        thread::sleep(Duration::from_millis(pause));
        stream.write_all(HEALTH.as_bytes()).unwrap();
        let read = stream.read(&mut reply).unwrap();
        assert!(reply[..read].ends_with(b"ok\n"), "after {pause} ms");
    }
}

#[test]
fn idle_http2_connection_gets_a_goaway() {
    let gate = Gate::start_with(
        &[("REALMGATE_SERVICE_H2C", "true")],
        "[timeouts]\nkeep_alive = '1s'\n",
    );
    let mut stream = frames::connect(gate.service, &[]);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let began = Instant::now();
    let mut is_told = false;
    while let Some(frame) = frames::read(&mut stream) {
        is_told |= frame.kind == GOAWAY;
    }
    assert!(is_told, "after {:?}", began.elapsed());
}

#[test]
fn failed_handshake_gets_an_alert() {
    let ca = Ca::new();
    let (cert, key) = ca.issue("a", "/CN=a", "DNS:a.example");
    let gate = Gate::start_with(
        &[("REALMGATE_SERVICE_TLS", "true")],
        &format!("[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n"),
    );
    let mut stream = connect(gate.service);
    stream.write_all(b"\0\x03\x01\0\x05hello").unwrap();
    let mut alert = Vec::new();
    let ended = stream.read_to_end(&mut alert);
    assert!(
        ended.is_ok() || ended.is_err_and(|it| it.kind() == ErrorKind::ConnectionReset),
        "the connection stays open"
    );
    // A record of the type alert (RFC 8446 §5.1).
    assert_eq!(alert.first(), Some(&21), "{alert:?}");
    // One with the right beginning is served.
    let mut open = Open::new(&ca, "a.example", gate.service, &[]);
    assert!(open.get("/healthz", "").starts_with("200"));
}
