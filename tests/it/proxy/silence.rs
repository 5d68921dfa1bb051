//! Connections that are silent for a while: which side is responsible, and what happens.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::harness::certificate::Ca;
use crate::harness::tape::{Play, Tape};
use crate::harness::{Gate, PATIENCE, get, parse, until};

/// A gateway with one peer, and further settings of the upstream.
fn gate(play: Play, upstream: &str) -> (Gate, Tape) {
    let tape = Tape::playing(play);
    let gate = Gate::start(&format!(
        "[timeouts]\nread = '3s'\n{}{upstream}\n",
        tape.routes()
    ));
    (gate, tape)
}

fn send(gate: &Gate, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Returns how many requests count against the peer.
#[track_caller]
fn failures(gate: &Gate, expected: usize) {
    let metrics = get(gate.metrics(), "/metrics", "").body;
    let count =
        format!("realmgate_upstream_request_failures_total{{upstream=\"app\"}} {expected}\n");
    assert!(metrics.contains(&count), "{metrics}{}", gate.log());
}

const WAIT: Play = |connection| {
    connection.read_to(0, b"never");
};

const UPLOAD: &str = "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab";

#[test]
fn client_whose_body_stops_gets_408() {
    let (gate, _tape) = gate(WAIT, "");
    let mut answer = Vec::new();
    send(&gate, UPLOAD).read_to_end(&mut answer).unwrap();
    let reply = parse(&answer);
    assert_eq!(
        (reply.status, &*reply.body),
        (408, "the body came too slowly\n")
    );
    failures(&gate, 0);
}

#[test]
fn peer_that_waits_for_a_client_has_not_failed() {
    let (gate, _tape) = gate(WAIT, "read_timeout = '300ms'");
    let mut answer = Vec::new();
    send(&gate, UPLOAD).read_to_end(&mut answer).unwrap();
    assert_eq!(parse(&answer).status, 504);
    failures(&gate, 0);
}

#[test]
fn silent_peer_has_failed() {
    let (gate, _tape) = gate(WAIT, "read_timeout = '300ms'");
    assert_eq!(get(gate.gateway, "/public", "").status, 504);
    failures(&gate, 1);
}

#[test]
fn peer_whose_stream_pauses_has_not_failed() {
    let (gate, _tape) = gate(
        |connection| {
            connection.read_to(0, b"\r\n\r\n");
            connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
            connection.read_to(0, b"never");
        },
        "read_timeout = '2s'",
    );
    let mut answer = Vec::new();
    let mut stream = send(&gate, "GET /public HTTP/1.1\r\nHost: a\r\n\r\n");
    // It ends without the last chunk.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.ends_with(b"\r\n1\r\nx\r\n"), "{answer:?}");
    failures(&gate, 0);
}

const UPGRADE: &str = "GET /public HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Switches to another protocol, and echoes each `ping`.
const SWITCH: Play = |connection| {
    let mut from = connection.read_to(0, b"\r\n\r\n").unwrap();
    connection.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    while let Some(end) = connection.read_to(from, b"ping") {
        from = end;
        connection.write(b"pong");
    }
};

fn upgraded(gate: &Gate) -> TcpStream {
    let mut stream = send(gate, UPGRADE);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

#[test]
fn web_socket_may_be_silent_for_as_long_as_its_upstream_may() {
    let (gate, _tape) = gate(SWITCH, "read_timeout = '1h'");
    let mut stream = upgraded(&gate);
    for pause in [0, 4500] {
        // Longer than the read timeout of a request.
        thread::sleep(Duration::from_millis(pause));
        stream.write_all(b"ping").unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"pong");
    }
}

#[test]
fn web_socket_that_is_silent_for_longer_ends_without_a_fault() {
    let (gate, _tape) = gate(SWITCH, "read_timeout = '2s'");
    let mut rest = Vec::new();
    let _ = upgraded(&gate).read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
    until("it has ended", || {
        let metrics = get(gate.metrics(), "/metrics", "").body;
        metrics.contains("realmgate_upstream_requests_in_flight{upstream=\"app\"} 0\n")
    });
    failures(&gate, 0);
    assert!(!gate.log().contains("WARN"), "{}", gate.log());
}

/// Switches to another protocol, and sends without end.
const FLOOD: Play = |connection| {
    connection.read_to(0, b"\r\n\r\n").unwrap();
    connection.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let part = vec![b'x'; 1 << 16];
    while connection.write(&part) {}
    connection.note("cut");
};

fn is_cut(gate: &Gate, tape: &Tape) {
    until("the connection to the upstream has ended", || {
        tape.heard().ends_with("cut")
    });
    until("the request has ended", || {
        let metrics = get(gate.metrics(), "/metrics", "").body;
        metrics.contains("realmgate_upstream_requests_in_flight{upstream=\"app\"} 0\n")
    });
    failures(gate, 0);
}

#[test]
fn web_socket_whose_client_reads_nothing_is_closed() {
    let tape = Tape::playing(FLOOD);
    let routes = tape.routes();
    let gate = Gate::start(&format!(
        "[timeouts]\nwrite = '1s'\n{routes}read_timeout = '1h'\nwrite_timeout = '1h'\n"
    ));
    let mut stream = send(&gate, UPGRADE);
    is_cut(&gate, &tape);
    // The client gets the bytes that were sent before, and then the end.
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
}

#[test]
fn web_socket_over_tls_whose_client_reads_nothing_is_closed() {
    let tape = Tape::playing(FLOOD);
    let ca = Ca::new();
    let (cert, key) = ca.issue("server", "/CN=a", "DNS:a.example");
    let routes = tape.routes();
    let gate = Gate::start(&format!(
        "tls = true\n[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n\
         [timeouts]\nwrite = '1s'\n{routes}read_timeout = '1h'\nwrite_timeout = '1h'\n"
    ));
    // It stops reading when nobody reads its output.
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &gate.gateway.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    input.write_all(UPGRADE.as_bytes()).unwrap();
    is_cut(&gate, &tape);
    let _ = client.kill();
    let _ = client.wait();
}
