//! How a route responds to denied requests.

use std::fmt::Write;
use std::process::Command;

use serde_json::json;

use crate::authentication::oracle::{check, check_request};
use crate::harness::port::Port;
use crate::harness::{Gate, Reply, Upstream, get, send, stdout};

const BASIC: &str = "Basic realm=\"realmgate\", charset=\"UTF-8\"";
const ACME: &str = "Basic realm=\"Acme\", charset=\"UTF-8\"";

/// A gate with a route for each form. Some routes fail after the decision.
fn gate() -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let dead = Port::reserve();
    let json = "errors = 'json'\ndenial_headers = { set = { X-Help = 'ask ops' } }";
    let mut routes = String::from("[grpc]\nlisten = \"127.0.0.1:0\"\n");
    for (name, keys) in [
        ("quiet", "challenge = 'none'"),
        ("acme", "challenge = 'Acme'"),
        ("json", json),
        ("plain", ""),
    ] {
        let _ = write!(
            routes,
            "[[route]]\nname = '{name}'\npath = '/{name}'\nallow = [{{ realm = 'ops' }}]\nupstream = 'app'\n{keys}\n"
        );
    }
    let _ = write!(
        routes,
        "[[route]]\nname = 'dead'\npath = '/dead'\nallow = 'anyone'\nupstream = 'dead'\n{json}\n\
         [[route]]\nname = 'short'\npath = '/short'\nallow = 'anyone'\nupstream = 'app'\nbody_bytes = 2\n{json}\n\
         [upstream.app]\npeers = ['{}']\n[upstream.dead]\npeers = ['{}']\n",
        upstream.address, dead.address
    );
    (Gate::start(&routes), upstream)
}

#[track_caller]
fn assert_problem(reply: &Reply, problem: &serde_json::Value) {
    assert_eq!(reply.status, problem["status"], "{reply:?}");
    assert_eq!(
        reply.field("Content-Type"),
        Some("application/problem+json")
    );
    let length = reply.body.len().to_string();
    assert_eq!(reply.field("Content-Length"), Some(&*length));
    let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body, *problem);
}

#[test]
fn route_says_how_denied_requests_are_responded_to() {
    let (gate, upstream) = gate();
    for (path, challenge) in [
        ("/quiet", None),
        ("/acme", Some(ACME)),
        ("/json", Some(BASIC)),
        ("/plain", Some(BASIC)),
    ] {
        let help = (path == "/json").then_some("ask ops");
        let nginx = format!("X-Original-Method: GET\r\nX-Original-URL: http://a{path}\r\n");
        let forwarded = format!(
            "X-Forwarded-Method: GET\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Forwarded-Uri: {path}\r\n"
        );
        let envoy = format!("/forward-auth/envoy{path}");
        for reply in [
            get(gate.gateway, path, ""),
            get(gate.service, "/forward-auth/nginx", &nginx),
            get(gate.service, "/forward-auth/traefik", &forwarded),
            get(gate.service, "/forward-auth/caddy", &forwarded),
            get(gate.service, "/forward-auth/haproxy", &forwarded),
            get(gate.service, &envoy, ""),
        ] {
            assert_eq!(reply.status, 401, "{path}");
            assert_eq!(reply.field("WWW-Authenticate"), challenge, "{path}");
            assert_eq!(reply.field("X-Help"), help, "{path}");
            assert_eq!(reply.field("Cache-Control"), Some("no-store"));
        }
        // Without a description there is no route.
        let reply = get(gate.service, "/forward-auth", "");
        assert_eq!(reply.field("WWW-Authenticate"), Some(BASIC));
        let mut asked = check_request("", "", "");
        let attributes = asked.attributes.as_mut().unwrap();
        let http = attributes.request.as_mut().unwrap().http.as_mut().unwrap();
        http.path = path.into();
        http.headers.clear();
        let answer = format!("{:?}", check(&gate, &asked));
        let has_challenge = answer.contains("www-authenticate");
        assert_eq!(has_challenge, challenge.is_some(), "{answer}");
        assert_eq!(answer.contains("Acme"), path == "/acme", "{answer}");
        assert_eq!(answer.contains("ask ops"), help.is_some(), "{answer}");
    }
    // A request without a route has no form.
    let reply = get(gate.gateway, "/none", "");
    assert_eq!((reply.status, &*reply.body), (404, "no route\n"));
    assert_eq!(reply.field("X-Help"), None);
    assert_eq!(upstream.seen(), [""; 0]);
}

#[test]
fn denial_is_a_problem_document_where_the_route_says_so() {
    let (gate, _upstream) = gate();
    let dev = gate.register("a", "dev");
    let unauthenticated = json!({
        "type": "urn:realmgate:problem:unauthenticated",
        "title": "The request has no valid credential.",
        "status": 401,
    });
    assert_problem(&get(gate.gateway, "/json", ""), &unauthenticated);
    let wrong = dev.fields_with(&dev.wrong_token());
    assert_problem(&get(gate.gateway, "/json", &wrong), &unauthenticated);
    let reply = get(gate.gateway, "/json", &dev.fields());
    let not_allowed = json!({
        "type": "urn:realmgate:problem:not-allowed",
        "title": "The caller may not do this.",
        "status": 403,
    });
    assert_problem(&reply, &not_allowed);
    assert_eq!(reply.field("WWW-Authenticate"), None);
    // Auth requests have no body: nginx closes the connection after one.
    let nginx = "X-Original-Method: GET\r\nX-Original-URL: http://a/json\r\n";
    let reply = get(gate.service, "/forward-auth/nginx", nginx);
    assert_eq!((reply.status, &*reply.body), (401, ""));
    assert_eq!(reply.field("Content-Type"), None);
    let reply = send(gate.gateway, "HEAD", "/json", "", "");
    assert_eq!((reply.status, &*reply.body), (401, ""));
    let reply = get(gate.gateway, "/plain", "");
    assert_eq!(&*reply.body, "authentication required\n");
}

#[test]
fn failure_after_the_decision_is_a_problem_document_too() {
    let (gate, _upstream) = gate();
    let of = |status: u16, title: &str| json!({ "type": "about:blank", "title": title, "status": status });
    let reply = get(gate.gateway, "/dead", "");
    assert_problem(&reply, &of(502, "Bad Gateway"));
    // It is no denial.
    assert_eq!(reply.field("X-Help"), None);
    let reply = send(gate.gateway, "POST", "/short", "", "long");
    assert_problem(&reply, &of(413, "Content Too Large"));
}

#[test]
fn denied_call_stays_grpc() {
    let (gate, _upstream) = gate();
    for (kind, status) in [
        ("application/grpc", Some("16")),
        ("application/grpc-web+proto", None),
    ] {
        let output = Command::new("curl")
            .args(["-sSi", "--http1.1", "-X", "POST"])
            .args(["-H", &format!("content-type: {kind}")])
            .arg(format!("http://{}/json", gate.gateway))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
        assert!(text.starts_with("http/1.1 200 "), "{text}");
        assert!(
            text.contains(&format!("content-type: {kind}\r\n")),
            "{text}"
        );
        assert!(text.contains("x-help: ask ops\r\n"), "{text}");
        assert!(text.contains("authentication required"), "{text}");
        assert!(!text.contains("problem") && !text.contains('{'), "{text}");
        if let Some(status) = status {
            let field = format!("grpc-status: {status}\r\n");
            assert!(text.contains(&field), "{}", stdout(&output));
        }
    }
}
