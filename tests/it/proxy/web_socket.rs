//! WebSockets end to end, with a real client and server.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::certificate::Ca;
use crate::harness::nginx::Nginx;
use crate::harness::program::{Script, python};
use crate::harness::tape::{Connection, Tape};
use crate::harness::{Gate, PATIENCE, Upstream, field, raw, routes, stderr, stdout};

const SCRIPT: &str = "tests/it/proxy/web_socket.py";

#[test]
fn messages_pings_and_reasons_go_through_with_and_without_tls() {
    let server = Script::serve(SCRIPT);
    let routes = format!(
        "[[route]]\nname = 'all'\nallow = 'authenticated'\nupstream = 'app'\n\
         [upstream.app]\npeers = ['127.0.0.1:{}']\n",
        server.port
    );
    let ca = Ca::new();
    let (cert, key) = ca.issue("server", "/CN=a", "IP:127.0.0.1");
    let tls = format!("tls = true\n[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n{routes}");
    for (scheme, configuration) in [("ws", &routes), ("wss", &tls)] {
        let gate = Gate::start(configuration);
        let caller = gate.register("billing", "payments");
        let output = python(SCRIPT)
            .arg("call")
            .arg(format!("{scheme}://{}/chat?room=1", gate.gateway))
            .args([&caller.name, &caller.realm, &caller.token(), &ca.file()])
            .output()
            .unwrap();
        assert_eq!(
            stdout(&output),
            "good\n",
            "{scheme}: {}{}",
            stderr(&output),
            gate.log()
        );
    }
}

const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Echoes each `ping` after a request.
fn say_back(connection: &mut Connection, mut from: usize) {
    while let Some(end) = connection.read_to(from, b"ping") {
        from = end;
        connection.write(b"pong");
    }
}

/// Upgrades many times, and gets a response on each connection.
fn upgrades_hold(upstream: &str) {
    let gate = Gate::start(&format!(
        "[[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'app'\n[upstream.app]\n{upstream}"
    ));
    for _ in 0..20 {
        let mut stream = TcpStream::connect(gate.gateway).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{upstream}");
        for _ in 0..2 {
            stream.write_all(b"ping").unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"pong", "{upstream}");
        }
    }
    assert!(!gate.log().contains("ERROR"), "{}", gate.log());
}

/// The response arrives before the request is complete; reading it too early would close the
/// connection.
#[test]
fn peer_that_switches_at_once_keeps_its_connection() {
    let tape = Tape::playing(|connection| {
        connection.write(SWITCH);
        let from = connection.read_to(0, b"\r\n\r\n").unwrap();
        say_back(connection, from);
    });
    upgrades_hold(&format!("peers = ['{}']\n", tape.address));
}

#[test]
fn peer_with_tls_may_switch_too() {
    let tape = Tape::playing(|connection| {
        let from = connection.read_to(0, b"\r\n\r\n").unwrap();
        connection.write(SWITCH);
        say_back(connection, from);
    });
    let ca = Ca::new();
    let (cert, key) = ca.issue("server", "/CN=server", "DNS:app.internal");
    let tls = Nginx::serve(&format!(
        "listen ADDRESS ssl http2; ssl_certificate {cert}; ssl_certificate_key {key};
         location / {{ proxy_pass http://{}; proxy_http_version 1.1;
           proxy_set_header Connection upgrade; proxy_set_header Upgrade websocket; }}",
        tape.address
    ));
    for http in ["1.1", "auto"] {
        upgrades_hold(&format!(
            "peers = ['{}']\ntls = true\nserver_name = 'app.internal'\nca = '{}'\nhttp = '{http}'\n",
            tls.address,
            ca.file()
        ));
    }
}

const ASKED: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// RFC 9110 §7.8: `Connection` must name `Upgrade`. RFC 6455 §4.1: the method is GET.
#[test]
fn upgrade_that_is_not_a_complete_one_is_an_ordinary_request() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let both = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let cases = [
        ("GET", "1.1", "Upgrade: websocket\r\n"),
        ("GET", "1.1", "Connection: close\r\nUpgrade: websocket\r\n"),
        (
            "GET",
            "1.1",
            "Connection: Upgrades\r\nUpgrade: websocket\r\n",
        ),
        ("GET", "1.1", "Connection: Upgrade\r\n"),
        ("GET", "1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        (
            "GET",
            "1.1",
            "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
        ),
        ("GET", "1.0", both),
        ("POST", "1.1", both),
        ("HEAD", "1.1", both),
    ];
    for (method, version, fields) in cases {
        let request = format!(
            "{method} /public HTTP/{version}\r\nHost: a\r\nConnection: close\r\n{fields}{ASKED}\r\n"
        );
        let reply = raw(gate.gateway, request.as_bytes());
        assert_eq!(reply.status, 200, "{method} {version} {fields}");
        assert!(reply.head.contains("\r\ncontent-length: "), "{reply:?}");
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), cases.len());
    for request in seen {
        assert_eq!(field(&request, "Upgrade"), None, "{request}");
    }
}

#[test]
fn connection_names_the_upgrade_in_any_case_and_among_others() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    for fields in [
        "Connection: upgrade\r\nUpgrade: WebSocket\r\n",
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive\r\nConnection: x,UPGRADE ,y\r\nUpgrade: websocket\r\n",
    ] {
        let request = format!("GET /public HTTP/1.1\r\nHost: a\r\n{fields}{ASKED}\r\n");
        let mut stream = TcpStream::connect(gate.gateway).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101", "{fields}");
    }
}
