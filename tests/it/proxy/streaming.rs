//! Bodies that take their time, and messages without a body.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::harness::tape::{Play, Tape};
use crate::harness::{Gate, PATIENCE, field, parse, raw, until};

fn gate(play: Play) -> (Gate, Tape) {
    let tape = Tape::playing(play);
    (Gate::start(&tape.routes()), tape)
}

/// A client that reads up to an expected text.
struct Client {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    fn send(gate: &Gate, request: &str) -> Self {
        let mut stream = TcpStream::connect(gate.gateway).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let bytes = Vec::new();
        Self { stream, bytes }
    }

    /// Reads everything up to `end`.
    fn take(&mut self, end: &str) -> String {
        let end = end.as_bytes();
        loop {
            if let Some(at) = self.bytes.windows(end.len()).position(|it| it == end) {
                let taken = self.bytes.drain(..at + end.len()).collect();
                return String::from_utf8(taken).unwrap();
            }
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "ended before {end:?}: {:?}", self.bytes);
            self.bytes.extend(&buffer[..read]);
        }
    }

    /// Reads the rest.
    fn rest(mut self) -> String {
        self.stream.read_to_end(&mut self.bytes).unwrap();
        String::from_utf8(self.bytes).unwrap()
    }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn events_are_forwarded_until_the_client_disconnects() {
    let (gate, tape) = gate(|connection| {
        connection.read_to(0, b"\r\n\r\n");
        connection.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        // As long as the connection lasts.
        while connection.write(b"9\r\ndata: x\n\n\r\n") {
            thread::sleep(Duration::from_millis(20));
        }
        connection.note("nobody listens");
    });
    let mut client = Client::send(&gate, "GET /public HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.take("\r\n\r\n");
    assert_eq!(field(&head, "Content-Type"), Some("text/event-stream"));
    for _ in 0..10 {
        client.take("data: x\n\n");
    }
    assert!(!tape.heard().contains("nobody listens"));
    drop(client);
    until("the upstream hears of it", || {
        tape.heard().contains("nobody listens")
    });
}

#[test]
fn both_sides_may_speak_in_turns() {
    let (gate, _tape) = gate(|connection| {
        let mut from = connection.read_to(0, b"\r\n\r\n").unwrap();
        connection.write(CHUNKED.as_bytes());
        while let Some(end) = connection.read_to(from, b"\r\nping\r\n") {
            from = end;
            connection.write(b"4\r\npong\r\n");
        }
    });
    let request = "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = Client::send(&gate, request);
    for turn in 0..100 {
        client.stream.write_all(b"4\r\nping\r\n").unwrap();
        // The header arrives before the request has ended.
        if turn == 0 {
            client.take("\r\n\r\n");
        }
        client.take("pong");
    }
}

/// Returns the peak memory of a process in KiB.
fn most_memory(gate: &Gate) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1);
    kib.unwrap().parse().unwrap()
}

#[test]
fn long_bodies_are_not_kept() {
    const LONG: usize = 128 << 20;
    let (gate, _tape) = gate(|connection| {
        connection.read_to(0, b"\r\n\r\n");
        let read = connection.skip(LONG);
        connection.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {read}\r\n\r\n").as_bytes());
        let part = vec![b'x'; 1 << 20];
        while connection.write(&part) {}
    });
    let before = most_memory(&gate);
    let head = format!("POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: {LONG}\r\n\r\n");
    let mut client = Client::send(&gate, &head);
    let part = vec![b'x'; 1 << 20];
    for _ in 0..LONG / part.len() {
        client.stream.write_all(&part).unwrap();
    }
    let head = client.take("\r\n\r\n");
    assert_eq!(field(&head, "Content-Length"), Some(&*LONG.to_string()));
    let mut read = client.bytes.len();
    let mut buffer = vec![0; 1 << 20];
    while read < LONG {
        match client.stream.read(&mut buffer).unwrap() {
            0 => panic!("ended after {read}"),
            some => read += some,
        }
    }
    assert_eq!(read, LONG);
    let more = most_memory(&gate) - before;
    assert!(more < 32 << 10, "{more} KiB more");
}

#[test]
fn body_waits_for_100_where_the_upstream_says_it() {
    let (gate, _tape) = gate(|connection| {
        let head = connection.read_to(0, b"\r\n\r\n").unwrap();
        connection.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        connection.read_to(head, b"hello").unwrap();
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let request = "POST /public HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
        Content-Length: 5\r\n\r\n";
    let mut client = Client::send(&gate, request);
    assert!(client.take("\r\n\r\n").starts_with("HTTP/1.1 100 "));
    client.stream.write_all(b"hello").unwrap();
    assert!(client.take("ok").starts_with("HTTP/1.1 200 "));
}

#[test]
fn rejected_request_gets_no_100() {
    let (gate, tape) = gate(|connection| {
        connection.read_to(0, b"\r\n\r\n");
        connection
            .write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    });
    for (path, expected) in [("/x", "HTTP/1.1 401 "), ("/public", "HTTP/1.1 413 ")] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        );
        let mut client = Client::send(&gate, &request);
        let head = client.take("\r\n\r\n");
        assert!(head.starts_with(expected), "{head}");
    }
    assert!(tape.heard().starts_with("POST /public"), "{}", tape.heard());
}

#[test]
fn upstream_that_fails_after_100_is_502() {
    let (gate, _tape) = gate(|connection| {
        let head = connection.read_to(0, b"\r\n\r\n").unwrap();
        connection.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        connection.read_to(head, b"hello").unwrap();
    });
    let request = "POST /public HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
        Content-Length: 5\r\n\r\n";
    let mut client = Client::send(&gate, request);
    assert!(client.take("\r\n\r\n").starts_with("HTTP/1.1 100 "));
    client.stream.write_all(b"hello").unwrap();
    let answer = client.rest();
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let (gate, tape) = gate(|connection| {
        let mut from = 0;
        while let Some(end) = connection.read_to(from, b"\r\n\r\n") {
            from = end;
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
        }
    });
    let request = "HEAD /public HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = Client::send(&gate, request);
    // Three requests on one connection: a body that was sent or awaited would show.
    for _ in 0..2 {
        let head = client.take("\r\n\r\n");
        assert_eq!(field(&head, "Content-Length"), Some("1234"));
        client.stream.write_all(request.as_bytes()).unwrap();
    }
    client.take("\r\n\r\n");
    assert_eq!(tape.heard().matches("HEAD /public").count(), 3);
    let denied = raw(
        gate.gateway,
        b"HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!((denied.status, denied.body.as_str()), (401, ""));
    assert_eq!(denied.field("Content-Length"), Some("24"));
}

#[test]
fn client_of_http_1_0_gets_no_chunks_and_its_connection_closed() {
    let (gate, tape) = gate(|connection| {
        connection.read_to(0, b"\r\n\r\n");
        connection.write(CHUNKED.as_bytes());
        connection.write(b"2\r\nok\r\n0\r\n\r\n");
    });
    for fields in ["Host: a\r\n", "Host: a\r\nConnection: keep-alive\r\n"] {
        let request = format!("GET /public HTTP/1.0\r\n{fields}\r\n");
        let answer = Client::send(&gate, &request).rest();
        let reply = parse(answer.as_bytes());
        assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{answer}");
        assert_eq!(reply.field("Transfer-Encoding"), None, "{answer}");
    }
    assert_eq!(tape.heard().matches("GET /public HTTP/1.1\r\n").count(), 2);
}

#[test]
fn response_that_ends_with_its_connection_is_complete() {
    let (gate, _tape) = gate(|connection| {
        connection.read_to(0, b"\r\n\r\n");
        connection.write(b"HTTP/1.0 200 OK\r\n\r\nhello");
    });
    let request = "GET /public HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = Client::send(&gate, request).rest();
    assert!(answer.contains("hello"), "{answer}");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// RFC 9110 §6.2: each hop sends its own version.
#[test]
fn response_of_an_older_version_is_sent_in_the_version_of_the_gateway() {
    let (gate, tape) = gate(|connection| {
        connection.read_to(0, b"\r\n\r\n");
        connection.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let request = "GET /public HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = Client::send(&gate, request);
    for _ in 0..2 {
        let head = client.take("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        client.take("ok");
        client.stream.write_all(request.as_bytes()).unwrap();
    }
    until("the third has come", || {
        tape.heard().matches("GET /public").count() == 3
    });
}

#[test]
fn client_that_disconnects_half_way_logs_no_error() {
    let (gate, _tape) = gate(|_| {});
    for half in [
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: a",
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
    ] {
        drop(Client::send(&gate, half));
    }
    let after = "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(Client::send(&gate, after).rest().contains(" 401 "));
    assert!(!gate.log().contains("ERROR"), "{}", gate.log());
}
