//! Connections with more than one plain request: several requests, hop-by-hop headers, bodies and
//! upgrades.

use std::io::Write;
use std::net::TcpStream;

use super::{Program, Rig};
use crate::harness::{Reply, parse, raw, read_message, send};

/// A permit is for one request, not for the connection.
pub(super) fn each_request_of_a_connection_is_authorized(program: Program) {
    let rig = Rig::start(program);
    let mut stream = TcpStream::connect(rig.address()).unwrap();
    for (fields, expected) in [
        (rig.billing.fields(), 200),
        (String::new(), 401),
        (rig.billing.fields(), 200),
        (rig.billing.fields_with(&rig.billing.wrong_token()), 401),
    ] {
        let request = format!("GET /api HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n");
        let reply = exchange(&rig, &mut stream, &request);
        assert_eq!(reply.status, expected, "{reply:?}");
    }
    assert_eq!(rig.app.seen().len(), 2);
}

/// Both are in the same packet: the permit of the first must not apply to the second.
pub(super) fn pipelined_request_is_authorized_too(program: Program) {
    let rig = Rig::start(program);
    let first = format!(
        "GET /api HTTP/1.1\r\nHost: app.example\r\n{}\r\n",
        rig.billing.fields()
    );
    let second = "GET /ops/x HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n";
    raw(rig.address(), format!("{first}{second}").as_bytes());
    rig.passed_as(&rig.billing);
}

/// Headers that `Connection` names are not forwarded. If those of the auth request were among them,
/// the front proxy would ask about another request.
pub(super) fn description_nominated_as_hop_by_hop_is_no_way_around(program: Program) {
    let rig = Rig::start(program);
    for nominated in [
        "X-Original-Method, X-Original-URL",
        "X-Original-URL",
        "X-Forwarded-Method, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Uri",
        "X-Forwarded-Uri",
        "X-Forwarded-Host",
        "X-Forwarded-For",
        "Host",
        "X-Realmgate-Narrow, Content-Length",
        ":path, :authority",
    ] {
        let described = "X-Original-URL: http://app.example/public\r\nX-Forwarded-Uri: /public\r\n";
        for fields in ["", described] {
            let request = format!(
                "GET /ops/x HTTP/1.1\r\nHost: app.example\r\nConnection: close, {nominated}\r\n{fields}{}\r\n",
                rig.billing.fields()
            );
            let reply = raw(rig.address(), request.as_bytes());
            assert!(
                matches!(reply.status, 400 | 401 | 403),
                "{nominated}: {reply:?}"
            );
        }
    }
    rig.nothing_passed();
}

/// `Connection` names the credential: a front proxy that drops it first has none for the auth
/// request.
pub(super) fn credential_nominated_as_hop_by_hop_never_arrives(program: Program) {
    let rig = Rig::start(program);
    for path in ["/api", "/public/x"] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: app.example\r\nConnection: close, X-Auth-Token, Authorization\r\n{}\r\n",
            rig.billing.fields()
        );
        raw(rig.address(), request.as_bytes());
    }
    let token = rig.billing.token();
    for seen in rig.app.seen() {
        assert!(!seen.contains(&token), "{seen}");
    }
}

/// The auth request has no body, whatever length the original has; otherwise the next one on its
/// connection would be misread.
pub(super) fn auth_requests_about_bodies_and_upgrades_share_connections(program: Program) {
    let rig = Rig::start(program);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for _ in 0..8 {
        let good = rig.billing.fields();
        for (fields, expected) in [(&*good, 200), ("", 401)] {
            let reply = send(rig.address(), "POST", "/api", fields, "hello");
            assert_eq!(reply.status, expected);
            let chunked = format!(
                "POST /api HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{fields}\
                 Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            );
            assert_eq!(raw(rig.address(), chunked.as_bytes()).status, expected);
            let expect = format!("Expect: 100-continue\r\n{fields}");
            let reply = send(rig.address(), "PUT", "/api", &expect, "hello");
            assert!([100, expected].contains(&reply.status), "{reply:?}");
            assert_eq!(
                send(rig.address(), "HEAD", "/api", fields, "").status,
                expected
            );
        }
        let request = format!("GET /ws HTTP/1.1\r\nHost: app.example\r\n{upgrade}\r\n");
        let mut stream = TcpStream::connect(rig.address()).unwrap();
        assert_eq!(exchange(&rig, &mut stream, &request).status, 401);
    }
    let connections = rig.tee.connections();
    assert!((1..=4).contains(&connections), "{connections}");
}

/// Sends a request and reads one response.
fn exchange(rig: &Rig, stream: &mut TcpStream, request: &str) -> Reply {
    stream.write_all(request.as_bytes()).unwrap();
    let answer = read_message(stream);
    let answer = answer.unwrap_or_else(|| panic!("no answer: {}", rig.front.log()));
    parse(answer.as_bytes())
}
