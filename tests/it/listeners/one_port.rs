//! One port for an application and for realmgate's own endpoints (`gateway.serve_api`). A front
//! proxy takes any 200 for a permit, so the application must never answer an auth request.

use std::net::SocketAddr;

use super::{curl, tls};
use crate::harness::certificate::Ca;
use crate::harness::frames::{self, request};
use crate::harness::{Gate, Upstream, raw, stderr, stdout};

fn open_to_all(upstream: SocketAddr) -> String {
    format!(
        "[[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'app'\nallow_double_slash = true\n\
         allow_encoded_slash = true\n[upstream.app]\npeers = ['{upstream}']\n"
    )
}

/// A gateway with one port for both, behind which the application serves every path to anyone.
fn gate() -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let rest = open_to_all(upstream.address);
    let more = format!("serve_api = true\nh2c = true\n{rest}");
    (Gate::start(&more), upstream)
}

fn one(at: SocketAddr, method: &str, target: &str) -> u16 {
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n");
    raw(at, request.as_bytes()).status
}

fn two(at: SocketAddr, method: &str, target: &str) -> Option<u16> {
    frames::ask(at, &request(method, "app.example", target), b"", &[])
}

/// Paths that an operator may write instead of an endpoint's, and that a server may read as one.
const MISTYPED: [(&str, u16); 18] = [
    ("/forward-auth/", 404),
    ("/forward-auth/nginx/", 404),
    ("/forward-auth/ngnix", 404),
    ("/forward-auth/traefic?realm=ops", 404),
    ("/forward-auth/envoy", 404),
    ("/forward-auth//nginx", 404),
    ("/forward-auth/nginx;x", 404),
    ("/forward-auth;x", 400),
    ("/forward-auth;x/nginx", 400),
    ("//forward-auth/nginx", 400),
    ("/%66orward-auth/nginx", 400),
    ("/forward%2dauth", 400),
    ("/x/..;/forward-auth/nginx", 400),
    ("/Forward-Auth/nginx", 400),
    ("/ungleichotp;/verify/", 400),
    ("/UNGLEICHOTP/verify/", 400),
    ("/FORWARD-AUTH/%ff", 400),
    ("/ungle%C4%B1chotp/verify/", 400),
];

#[test]
fn mistyped_endpoint_is_never_answered_by_the_application() {
    let (gate, upstream) = gate();
    for (path, expected) in MISTYPED {
        for method in ["GET", "POST", "HEAD"] {
            assert_eq!(one(gate.gateway, method, path), expected, "{method} {path}");
            let got = two(gate.gateway, method, path);
            assert_eq!(got, Some(expected), "{method} {path} over HTTP/2");
        }
    }
    assert_eq!(upstream.seen(), [""; 0]);
    let log = gate.log();
    assert!(log.contains("ambiguous_path"), "{log}");
}

#[test]
fn explanation_of_a_mistyped_endpoint_is_the_response_of_the_proxy() {
    let (gate, _upstream) = gate();
    for (path, expected) in MISTYPED {
        let output = gate.run(&["--json", "explain", "GET", path]);
        let explained: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        let own = expected == 404;
        assert_eq!(explained["own"], own, "{path} {explained}");
        assert_eq!(explained["proxy"]["passes"], own, "{path} {explained}");
        let status = &explained["proxy"]["status"];
        assert_eq!(status.as_u64(), (!own).then_some(400), "{path} {explained}");
        let door = gate.run(&["explain", "GET", path, "--door", "proxy"]);
        assert_eq!(door.status.code(), Some(i32::from(!own)), "{path}");
    }
}

#[test]
fn mistyped_endpoint_is_never_answered_by_the_application_over_tls() {
    let ca = Ca::new();
    let server = ca.issue("server", "/CN=server", "DNS:app.example");
    let upstream = Upstream::start();
    let rest = open_to_all(upstream.address);
    let gate = Gate::start(&tls(&[&server], "serve_api = true", &rest));
    for version in ["--http1.1", "--http2"] {
        for (path, expected) in MISTYPED {
            let args = [
                version,
                "--path-as-is",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
            ];
            let output = curl(&ca, "app.example", gate.gateway, path, &args);
            let got = stdout(&output);
            assert_eq!(got, expected.to_string(), "{path} {}", stderr(&output));
        }
    }
    assert_eq!(upstream.seen(), [""; 0]);
}

#[test]
fn whole_url_is_400_where_realmgate_serves_its_api() {
    let (gate, upstream) = gate();
    for url in [
        "http://app.example/index.html",
        "http://app.example/healthz",
        "http://app.example/forward-auth",
        "http://app.example/forward-auth/nginx",
        "https://app.example/",
        "http://app.example",
        "ftp://app.example/x",
    ] {
        assert_eq!(one(gate.gateway, "GET", url), 400, "{url}");
    }
    assert_eq!(one(gate.gateway, "OPTIONS", "*"), 400);
    assert_eq!(upstream.seen(), [""; 0]);
    // A REST client behind a proxy sends whole URLs.
    let rest = "http://app.example/ungleichotp/verify/";
    assert_eq!(one(gate.gateway, "GET", rest), 403);
}

#[test]
fn every_other_path_is_that_of_the_application() {
    let (gate, upstream) = gate();
    let paths = [
        "/forward-authority",
        "/forward-authx",
        "/x/forward-auth",
        "/healthz",
        "/healthz/x",
        "/readyz",
        "/metrics",
        "/v1/status",
        "/a%2fb",
        "/a;b",
    ];
    for path in paths {
        assert_eq!(one(gate.gateway, "GET", path), 200, "{path}");
        assert_eq!(two(gate.gateway, "GET", path), Some(200), "{path}");
    }
    assert_eq!(upstream.seen().len(), 2 * paths.len());
}
