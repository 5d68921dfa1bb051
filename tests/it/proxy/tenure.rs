//! WebSockets and long responses end when their caller would not pass any more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::frames::{
    self, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, block, credential, frame, request,
};
use crate::harness::tape::{Play, Tape};
use crate::harness::{Caller, Gate, PATIENCE, stderr};

/// Switches protocols and echoes, or sends events without end.
const LASTING: Play = |connection| {
    let end = connection.read_to(0, b"\r\n\r\n").unwrap();
    if connection.has_before(end, b"websocket") {
        connection.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        let mut from = end;
        while let Some(end) = connection.read_to(from, b"ping") {
            from = end;
            connection.write(b"pong");
        }
        return;
    }
    connection.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    while connection.write(b"9\r\ndata: 1\n\n\r\n") {
        thread::sleep(Duration::from_millis(100));
    }
};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Opens a connection, and reads the header of its response.
fn open(at: SocketAddr, path: &str, fields: &str, status: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    stream
}

fn socket(gate: &Gate, who: &Caller) -> TcpStream {
    let mut stream = open(
        gate.gateway,
        "/x",
        &format!("{UPGRADE}{}", who.fields()),
        "101",
    );
    echoes(&mut stream);
    stream
}

fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"pong");
}

/// Reads until the connection ends. Returns what came before.
#[track_caller]
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let (began, mut bytes, mut buffer) = (Instant::now(), Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(read) => bytes.extend(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("still open: {error}"),
        }
        assert!(began.elapsed() < PATIENCE, "still open");
    }
}

fn run(gate: &Gate, args: &[&str]) {
    let output = gate.run(args);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn web_socket_ends_with_the_right_of_its_caller() {
    let tape = Tape::playing(LASTING);
    let gate = Gate::start(&tape.routes());
    let stays = gate.register("stays", "payments");
    let mut open = socket(&gate, &stays);
    let rotated = gate.register("overlapping", "payments");
    let mut overlapping = socket(&gate, &rotated);
    run(
        &gate,
        &[
            "identity",
            "rotate",
            "overlapping@payments",
            "--grace",
            "1h",
        ],
    );
    for action in ["disable", "delete", "rotate"] {
        let who = gate.register(action, "payments");
        let idle = socket(&gate, &who);
        run(&gate, &["identity", action, &format!("{action}@payments")]);
        assert_eq!(rest(idle), b"", "{action}");
    }
    let expires = gate.register("expires", "payments");
    let idle = socket(&gate, &expires);
    gate.expire(&expires);
    assert_eq!(rest(idle), b"");
    echoes(&mut open);
    echoes(&mut overlapping);
    let log = gate.log();
    let line = "connection closed: its caller would be denied now";
    assert_eq!(log.matches(line).count(), 4, "{log}");
    for reason in ["disabled", "unknown_principal", "wrong_token", "expired"] {
        assert!(
            log.contains(&format!("reason=\"{reason}\"")),
            "{reason}: {log}"
        );
    }
}

#[test]
fn web_socket_of_anyone_stays() {
    let tape = Tape::playing(LASTING);
    let gate = Gate::start(&tape.routes());
    let who = gate.register("billing", "payments");
    let fields = format!("{UPGRADE}{}", who.fields());
    let mut public = open(gate.gateway, "/public/x", &fields, "101");
    let other = socket(&gate, &who);
    run(&gate, &["identity", "delete", "billing@payments"]);
    rest(other);
    echoes(&mut public);
}

#[test]
fn events_end_with_the_right_of_their_caller() {
    let tape = Tape::playing(LASTING);
    let gate = Gate::start(&format!("h2c = true\n{}", tape.routes()));
    let who = gate.register("billing", "payments");
    let one = open(gate.gateway, "/x", &who.fields(), "200");
    let mut two = frames::connect(gate.gateway, &[]);
    let token = who.token();
    let fields = [&request("GET", "a", "/x")[..], &credential(&token)].concat();
    let mut bytes = Vec::new();
    frame(
        &mut bytes,
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block(&fields),
    );
    two.write_all(&bytes).unwrap();
    while frames::read(&mut two).unwrap().kind != DATA {}
    run(&gate, &["identity", "disable", "billing@payments"]);
    let events = rest(one);
    assert!(events.ends_with(b"data: 1\n\n\r\n"), "{events:?}");
    let began = Instant::now();
    while frames::read(&mut two).unwrap().kind != RST_STREAM {
        assert!(began.elapsed() < PATIENCE, "still open");
    }
}
