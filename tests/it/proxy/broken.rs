//! Responses that break off or never begin.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::tape::{Play, Tape};
use crate::harness::{Gate, PATIENCE, parse};

/// Sends a POST, and returns everything received until the connection ends.
fn post(play: Play, upstream: &str) -> (String, Tape, Gate) {
    let tape = Tape::playing(play);
    let gate = Gate::start(&format!("{}{upstream}\n", tape.routes()));
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(
            b"POST /public HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
        )
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    (String::from_utf8(answer).unwrap(), tape, gate)
}

#[test]
fn part_of_a_broken_response_reaches_the_client() {
    let (answer, ..) = post(
        |connection| {
            connection.read_to(0, b"\r\n\r\nab");
            connection.write(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nsome");
        },
        "",
    );
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nsome"), "{answer}");
}

#[test]
fn header_alone_reaches_the_client() {
    let (answer, ..) = post(
        |connection| {
            connection.read_to(0, b"\r\n\r\nab");
            connection.write(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n");
        },
        "",
    );
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn truncated_chunked_response_does_not_look_complete() {
    let (answer, ..) = post(
        |connection| {
            connection.read_to(0, b"\r\n\r\nab");
            connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n");
        },
        "",
    );
    assert!(answer.contains("some"), "{answer}");
    assert!(!answer.contains("0\r\n\r\n"), "{answer}");
}

#[test]
fn stalled_response_reaches_the_client_as_far_as_received() {
    let (answer, ..) = post(
        |connection| {
            connection.read_to(0, b"\r\n\r\nab");
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
            connection.read_to(0, b"never");
        },
        "read_timeout = '300ms'",
    );
    assert!(answer.ends_with("\r\n\r\nsome"), "{answer}");
}

#[test]
fn half_a_header_is_no_response() {
    let (answer, ..) = post(
        |connection| {
            connection.read_to(0, b"\r\n\r\nab");
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Le");
        },
        "",
    );
    assert_eq!(parse(answer.as_bytes()).status, 502);
}

/// Returns the statuses in a response.
fn statuses(answer: &str) -> Vec<&str> {
    let lines = answer
        .lines()
        .filter_map(|line| line.strip_prefix("HTTP/1.1 "));
    lines.map(|line| line.split(' ').next().unwrap()).collect()
}

#[test]
fn endless_interim_responses_are_cut_off() {
    let (answer, ..) = post(
        |connection| {
            connection.read_to(0, b"\r\n\r\nab");
            while connection.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") {}
        },
        "",
    );
    let statuses = statuses(&answer);
    assert_eq!(statuses.last(), Some(&"502"), "{answer}");
    // At most 16 before the response. Those that arrive together with the one too many are dropped
    // with it.
    assert!((2..=17).contains(&statuses.len()), "{answer}");
}

#[test]
fn interim_responses_do_not_extend_the_read_timeout() {
    let (answer, ..) = post(
        |connection| {
            connection.read_to(0, b"\r\n\r\nab");
            while connection.write(b"HTTP/1.1 102 Processing\r\n\r\n") {
                std::thread::sleep(std::time::Duration::from_millis(150));
            }
        },
        "read_timeout = '500ms'",
    );
    let statuses = statuses(&answer);
    assert_eq!(statuses.last(), Some(&"504"), "{answer}");
    assert!(statuses.len() < 10, "{answer}");
}

#[test]
fn a_few_interim_responses_pass() {
    let (answer, ..) = post(
        |connection| {
            connection.read_to(0, b"\r\n\r\nab");
            for _ in 0..16 {
                connection.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
            }
            connection
                .write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        },
        "read_timeout = '10s'\nidle_timeout = '1s'",
    );
    assert_eq!(statuses(&answer).len(), 17, "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}
