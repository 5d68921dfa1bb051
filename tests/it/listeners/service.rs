//! The service listener, which hyper serves: what clients notice of the driver below and around it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::Open;
use crate::harness::certificate::Ca;
use crate::harness::frames::{self, GOAWAY};
use crate::harness::{Caller, Gate, PATIENCE, raw, until};

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
fn each_response_says_once_whether_its_connection_is_kept() {
    let gate = Gate::start("");
    let expecting = "POST /ungleichotp/verify/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}";
    let old = "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let upload = format!(
        "POST /ungleichotp/verify/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n{}",
        "x".repeat(9000)
    );
    let unauthorized = "GET /forward-auth HTTP/1.1\r\nHost: a\r\n\r\n";
    let mixed = [HEALTH, unauthorized, expecting, old, &upload, HEALTH, LAST].concat();
    for is_half_closed in [false, true] {
        let mut stream = connect(gate.service);
        stream.write_all(mixed.as_bytes()).unwrap();
        if is_half_closed {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let text = text.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
        let replies: Vec<&str> = text.split("HTTP/1.1 ").skip(1).collect();
        assert_eq!(replies.len(), 7, "{text}");
        for (place, reply) in replies.iter().enumerate() {
            let (head, _) = reply.split_once("\r\n\r\n").unwrap();
            let values = |name: &str| {
                let lines = head.lines().filter_map(|line| line.split_once(": "));
                let named = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name));
                named.map(|(_, value)| value).collect::<Vec<_>>()
            };
            let (connection, timeout) = (values("connection"), values("keep-alive"));
            match place {
                6 => assert_eq!((&connection[..], &timeout[..]), (&["close"][..], &[][..])),
                _ => assert_eq!(
                    (&connection[..], &timeout[..]),
                    (&["keep-alive"][..], &["timeout=99"][..]),
                    "{place} {head}"
                ),
            }
        }
    }
    // hyper has read the end before it writes the response.
    let mut stream = connect(gate.service);
    stream.write_all(HEALTH.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("connection: ").count(), 1, "{text}");
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

/// The headers with which a request passes, at this moment.
type Fields = fn(&Caller) -> String;

fn none(_: &Caller) -> String {
    String::new()
}

fn original(caller: &Caller) -> String {
    let fields = caller.fields();
    format!("X-Original-Method: GET\r\nX-Original-URL: http://app.example/x\r\n{fields}")
}

fn forwarded(caller: &Caller) -> String {
    let fields = caller.fields();
    format!(
        "X-Forwarded-Method: GET\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: app.example\r\n\
         X-Forwarded-Uri: /x\r\n{fields}"
    )
}

/// The endpoints of realmgate: the address, the path, the headers with which a correct request
/// passes, and the status of a malformed one.
fn endpoints(gate: &Gate) -> Vec<(SocketAddr, &'static str, Fields, u16)> {
    let at_service: [(_, Fields, _); 11] = [
        ("/healthz", none, 400),
        ("/readyz", none, 400),
        ("/ungleichotp/", Caller::fields, 400),
        ("/ungleichotp/verify/", Caller::fields, 400),
        ("/v1/status", Caller::fields, 400),
        ("/unknown", none, 400),
        ("/forward-auth", Caller::fields, 403),
        ("/forward-auth/nginx", original, 403),
        ("/forward-auth/traefik", forwarded, 403),
        ("/forward-auth/caddy", forwarded, 403),
        ("/forward-auth/haproxy", forwarded, 403),
    ];
    let at_gateway: [(_, Fields, _); 4] = [
        ("/up", none, 400),
        ("/ungleichotp/", Caller::fields, 400),
        ("/forward-auth", Caller::fields, 403),
        ("/forward-auth/nginx", original, 403),
    ];
    let at_metrics = ["/metrics", "/healthz", "/readyz", "/unknown"];
    let at_service = at_service
        .into_iter()
        .map(|(path, fields, malformed)| (gate.service, path, fields, malformed));
    let at_gateway = at_gateway
        .into_iter()
        .map(|(path, fields, malformed)| (gate.gateway, path, fields, malformed));
    let at_metrics = at_metrics
        .into_iter()
        .map(|path| (gate.metrics(), path, none as Fields, 400));
    at_service.chain(at_gateway).chain(at_metrics).collect()
}

/// A gate that serves every endpoint.
fn every_endpoint() -> Gate {
    Gate::start("serve_api = true\nhealth_path = '/up'\n")
}

fn status(at: SocketAddr, line: &str, fields: &str) -> u16 {
    let request = format!("{line}\r\n{fields}Connection: close\r\n\r\n");
    raw(at, request.as_bytes()).status
}

#[test]
fn own_endpoints_reject_an_ambiguous_host_and_method() {
    let gate = every_endpoint();
    let caller = gate.register("billing", "payments");
    for (at, path, fields, malformed) in endpoints(&gate) {
        let fields = || fields(&caller);
        let line = format!("GET {path} HTTP/1.1");
        let correct = status(at, &line, &format!("Host: a_b.example:80\r\n{}", fields()));
        assert_ne!(correct, malformed, "{at} {path}");
        if path.starts_with("/forward-auth") {
            assert_eq!(correct, 200, "{at} {path}");
        }
        for hosts in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: a\r\nHost: b\r\n",
            "Host:\r\nHost:\r\n",
            "Host: a b\r\n",
            "Host: a, b\r\n",
            "Host: a/b\r\n",
            "Host: u@a\r\n",
        ] {
            let got = status(at, &line, &format!("{hosts}{}", fields()));
            assert_eq!(got, malformed, "{at} {path} {hosts:?}");
        }
        for method in ["get", "Get", "trace"] {
            let line = format!("{method} {path} HTTP/1.1");
            let got = status(at, &line, &format!("Host: a\r\n{}", fields()));
            assert_eq!(got, malformed, "{at} {method} {path}");
        }
        let line = format!("GET {path}#x HTTP/1.1");
        let got = status(at, &line, &format!("Host: a\r\n{}", fields()));
        assert_eq!(got, 400, "{at} {path}#x");
    }
}

#[test]
fn malformed_request_to_an_own_endpoint_is_logged_with_its_reason() {
    let gate = Gate::start("");
    for (line, reason) in [
        ("GET /healthz HTTP/1.1\r\nHost: a b", "bad_host"),
        ("get /forward-auth HTTP/1.1\r\nHost: a", "bad_method"),
        ("GET /ungleichotp/#x HTTP/1.1\r\nHost: a", "bad_target"),
        ("TRACE /readyz HTTP/1.1\r\nHost: a", "trace"),
    ] {
        status(gate.service, line, "");
        let named = format!("reason=\"{reason}\"");
        until(reason, || gate.log().contains(&named));
    }
}

#[test]
fn no_endpoint_permits_trace() {
    let gate = every_endpoint();
    let caller = gate.register("billing", "payments");
    for (at, path, fields, malformed) in endpoints(&gate) {
        let fields = || fields(&caller);
        let line = format!("TRACE {path} HTTP/1.1");
        let got = status(at, &line, &format!("Host: a\r\n{}", fields()));
        let expected = if malformed == 403 { 403 } else { 405 };
        assert_eq!(got, expected, "{at} {path}");
    }
}

/// Load balancers check with HTTP/1.0, often without `Host`, and HAProxy with OPTIONS.
#[test]
fn own_endpoints_need_no_host_over_http10() {
    let gate = every_endpoint();
    let caller = gate.register("billing", "payments");
    for (at, path, fields, malformed) in endpoints(&gate) {
        let fields = || fields(&caller);
        let correct = status(
            at,
            &format!("GET {path} HTTP/1.1"),
            &format!("Host: a\r\n{}", fields()),
        );
        for (version, host) in [("1.0", ""), ("1.0", "Host:\r\n"), ("1.1", "Host:\r\n")] {
            let line = format!("GET {path} HTTP/{version}");
            let got = status(at, &line, &format!("{host}{}", fields()));
            assert_eq!(got, correct, "{at} {path} HTTP/{version} {host:?}");
        }
        let two = status(
            at,
            &format!("GET {path} HTTP/1.0"),
            &format!("Host: a\r\nHost: b\r\n{}", fields()),
        );
        assert_eq!(two, malformed, "{at} {path}");
    }
    for at in [gate.service, gate.metrics()] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(status(at, &format!("OPTIONS {path} HTTP/1.0"), ""), 200);
        }
    }
}
