//! Request targets: one meaning, or rejected.

use super::gate;
use crate::harness::{get, raw, send};

#[test]
fn route_is_found_by_host_in_any_case_with_port_and_dot() {
    let (gate, _upstream) = gate();
    let caller = gate.register("billing", "payments");
    for host in [
        "admin.example",
        "ADMIN.example",
        "admin.example:8080",
        "admin.example.",
    ] {
        let request = format!(
            "GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{}\r\n",
            caller.fields()
        );
        assert_eq!(raw(gate.gateway, request.as_bytes()).status, 403, "{host}");
    }
}

#[test]
fn ambiguous_requests_are_rejected_before_any_policy() {
    let (gate, upstream) = gate();
    let caller = gate.register("billing", "payments");
    for path in [
        "/public/../ops",
        "/public/..;/ops",
        "/public/%2e%2e/ops",
        "/public/%2E./ops",
        "/public//ops",
        "/public%2fops",
        "/public\\ops",
        "/public/%5cops",
        "/public/%00",
        "/public/%zz",
        "/;/ops",
        "/;x/ops",
        "/public/;/ops",
        "/public/%3b/ops",
        "/public/%252e%252e/ops",
        "/public/..%20/ops",
        "/public/%c0%ae%c0%ae/ops",
        "/public/%ef%bc%8e%ef%bc%8e/ops",
        "/public/%u002e%u002e/ops",
        "/./public",
        "//public",
    ] {
        for fields in ["", &caller.fields()] {
            let reply = get(gate.gateway, path, fields);
            assert_eq!(
                (reply.status, &*reply.body),
                (400, "ambiguous path\n"),
                "{path}"
            );
        }
    }
    assert_eq!(get(gate.gateway, "public", "").status, 400);
    let without_host = b"GET /public HTTP/1.1\r\nConnection: close\r\n\r\n";
    let reply = raw(gate.gateway, without_host);
    assert_eq!((reply.status, &*reply.body), (400, "bad host\n"));
    let lower = send(gate.gateway, "get", "/public", "", "");
    assert_eq!((lower.status, &*lower.body), (400, "bad method\n"));
    assert_eq!(upstream.seen(), [""; 0]);
}

#[test]
fn disguised_paths_fall_under_their_own_route() {
    let (gate, upstream) = gate();
    for path in [
        "/%6fps",
        "/ops;x=1",
        "/ops%3bx",
        "/ops/",
        "/ops?/public",
        "/%70ublic;/../ops",
    ] {
        let status = get(gate.gateway, path, "").status;
        assert!(matches!(status, 401 | 400), "{path}: {status}");
    }
    assert_eq!(upstream.seen(), [""; 0]);
}

#[test]
fn absolute_form_is_decided_and_forwarded_by_its_path() {
    let (gate, upstream) = gate();
    let request = |path: &str| {
        format!(
            "GET http://app.example{path} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n"
        )
    };
    assert_eq!(raw(gate.gateway, request("/ops").as_bytes()).status, 401);
    assert_eq!(
        raw(gate.gateway, request("/public/x?y").as_bytes()).status,
        200
    );
    assert!(upstream.seen()[0].starts_with("GET /public/x?y HTTP/1.1\r\n"));
}

#[test]
fn whole_url_of_another_scheme_is_rejected() {
    let (gate, upstream) = gate();
    for scheme in ["http", "HTTPS"] {
        let request =
            format!("GET {scheme}://a/public HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(
            raw(gate.gateway, request.as_bytes()).status,
            200,
            "{scheme}"
        );
    }
    for scheme in ["ftp", "ws", "file", "x"] {
        let request =
            format!("GET {scheme}://a/public HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(
            raw(gate.gateway, request.as_bytes()).status,
            400,
            "{scheme}"
        );
    }
    assert_eq!(upstream.seen().len(), 2);
}
