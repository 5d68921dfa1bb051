//! Load balancers that name the client of a connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::{curl, tls};
use crate::harness::certificate::Ca;
use crate::harness::{Gate, PATIENCE, Upstream, field, get, parse, raw, routes, stderr};

const FROM_HERE: &str = "proxy_protocol = ['127.0.0.1']\n";
const REQUEST: &str =
    "GET /public/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n";

fn version_2(command: u8, source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    // The addresses, and a further TLV as load balancers add it.
    header.extend([0x20 | command, 0x11, 0, 12 + 5]);
    header.extend(source);
    header.extend([192, 0, 2, 1, 18, 103, 1, 187]);
    header.extend([4, 0, 2, 0, 0]);
    header
}

#[test]
fn client_is_the_one_that_a_load_balancer_names() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("{FROM_HERE}{}", routes(upstream.address)));
    for (header, expected) in [
        (
            b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n".to_vec(),
            "203.0.113.7",
        ),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n".to_vec(),
            "2001:db8::7",
        ),
        (version_2(1, [203, 0, 113, 8]), "203.0.113.8"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(0, [203, 0, 113, 8]), "127.0.0.1"),
    ] {
        let reply = raw(gate.gateway, &[&header, REQUEST.as_bytes()].concat());
        assert_eq!(reply.status, 200, "{expected}");
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(field(&seen, "X-Forwarded-For"), Some(expected));
        // The same in pieces of one byte.
        let mut stream = TcpStream::connect(gate.gateway).unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in &header {
            stream.write_all(&[*byte]).unwrap();
        }
        stream.write_all(REQUEST.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(parse(&answer).status, 200);
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(field(&seen, "X-Forwarded-For"), Some(expected));
    }
}

#[test]
fn load_balancer_that_does_not_say_is_not_served() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("{FROM_HERE}{}", routes(upstream.address)));
    let began = Instant::now();
    let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 8192]].concat();
    for bytes in [
        REQUEST.as_bytes(),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 x\r\nGET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        &endless,
    ] {
        let mut stream = TcpStream::connect(gate.gateway).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        // Closed or reset, not left open.
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    // One line in ten seconds.
    let log = gate.log();
    let line = "connection rejected reason=\"proxy_header\" peer=127.0.0.1:";
    let most = began.elapsed().as_secs() / 10 + 1;
    assert!(
        (1..=most).contains(&(log.matches(line).count() as u64)),
        "{log}"
    );
    let metrics = get(gate.metrics(), "/metrics", "").body;
    let count = "realmgate_connections_rejected_total{reason=\"proxy_header\"} 4\n";
    assert!(metrics.contains(count), "{metrics}");
    assert!(upstream.seen().is_empty());
}

#[test]
fn header_from_anybody_else_is_a_bad_request() {
    let upstream = Upstream::start();
    for more in ["", "proxy_protocol = ['192.0.2.0/24']\n"] {
        let gate = Gate::start(&format!("{more}{}", routes(upstream.address)));
        let header = "PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n";
        let reply = raw(gate.gateway, format!("{header}{REQUEST}").as_bytes());
        assert_eq!(reply.status, 400);
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn connections_count_for_the_address_in_the_proxy_header() {
    let gate = Gate::start(&format!(
        "{FROM_HERE}[limits]\nconnections_per_address = 1\n"
    ));
    let open = |address: &str| {
        let mut stream = TcpStream::connect(gate.gateway).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let header = format!("PROXY TCP4 {address} 192.0.2.1 4711 80\r\n");
        stream
            .write_all(format!("{header}GET / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer).unwrap_or(0);
        (read > 0).then_some(stream)
    };
    let first = open("203.0.113.7");
    assert!(first.is_some());
    assert!(open("203.0.113.7").is_none());
    assert!(open("203.0.113.8").is_some());
}

#[test]
fn header_comes_before_tls() {
    let ca = Ca::new();
    let server = ca.issue("a", "/CN=a", "DNS:a.example");
    let upstream = Upstream::start();
    let gate = Gate::start(&tls(&[&server], FROM_HERE, &routes(upstream.address)));
    for version in ["--http1.1", "--http2"] {
        let args = [version, "--haproxy-protocol", "--fail"];
        let output = curl(&ca, "a.example", gate.gateway, "/public/x", &args);
        assert!(output.status.success(), "{}", stderr(&output));
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(field(&seen, "X-Forwarded-For"), Some("127.0.0.1"));
        assert_eq!(field(&seen, "X-Forwarded-Proto"), Some("https"));
    }
    assert!(
        !curl(&ca, "a.example", gate.gateway, "/public/x", &[])
            .status
            .success()
    );
}
