//! Routes that change requests and responses.

use crate::harness::tape::Tape;
use crate::harness::{Caller, Gate, Upstream, field, get};

/// A route at `/api` for every authenticated principal, with further settings.
fn gate(more: &str) -> (Gate, Upstream, Caller) {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        "[[route]]\nname = \"api\"\npath = \"/api\"\nallow = \"authenticated\"\nupstream = \"app\"\n\
         {more}\n[upstream.app]\npeers = [\"{}\"]\n",
        upstream.address
    ));
    let caller = gate.register("billing", "payments");
    (gate, upstream, caller)
}

fn line(seen: &str) -> &str {
    seen.lines().next().unwrap()
}

#[test]
fn fields_are_set_and_removed_on_both_ways() {
    let (gate, upstream, caller) = gate(
        "request_headers = { set = { X-Edge = \"eu\", Authorization = \"Basic YTpi\" }, remove = [\"X-Debug\"] }\n\
         response_headers = { set = { X-Frame-Options = \"DENY\" } }",
    );
    let fields = format!(
        "X-Edge: us\r\nX-Edge: asia\r\nX-Debug: 1\r\nx-debug: 2\r\nX-Keep: 3\r\n{}",
        caller.fields()
    );
    let reply = get(gate.gateway, "/api/x", &fields);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("X-Frame-Options"), Some("DENY"));
    let seen = upstream.seen().remove(0);
    assert_eq!(seen.to_lowercase().matches("x-edge").count(), 1, "{seen}");
    for (name, expected) in [
        ("X-Edge", Some("eu")),
        ("Authorization", Some("Basic YTpi")),
        ("X-Debug", None),
        ("X-Keep", Some("3")),
        ("X-Auth-Name", Some("billing")),
        ("X-Auth-Token", None),
    ] {
        assert_eq!(field(&seen, name), expected, "{name} in {seen}");
    }
    // Not on realmgate's own responses.
    let reply = get(gate.gateway, "/api/x", "");
    assert_eq!((reply.status, reply.field("X-Frame-Options")), (401, None));
}

#[test]
fn prefix_is_taken_off_after_the_decision() {
    let (gate, upstream, caller) = gate("strip_prefix = true");
    for (path, expected) in [
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?q=/x", "/?q=/x"),
        ("/api/x/y?q=1?2", "/x/y?q=1?2"),
        ("/api/%78", "/%78"),
        ("/api/x;y", "/x;y"),
    ] {
        let fields = format!("X-Forwarded-Prefix: /evil\r\n{}", caller.fields());
        assert_eq!(get(gate.gateway, path, &fields).status, 200, "{path}");
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(line(&seen), format!("GET {expected} HTTP/1.1"));
        assert_eq!(field(&seen, "X-Forwarded-Prefix"), Some("/api"));
        assert_eq!(seen.matches("/evil").count(), 0);
    }
    // Without a credential, and outside the prefix, the stripped path has no meaning.
    assert_eq!(get(gate.gateway, "/api/x", "").status, 401);
    assert_eq!(get(gate.gateway, "/x", &caller.fields()).status, 404);
    assert_eq!(get(gate.gateway, "/apix", &caller.fields()).status, 404);
    // The prefix is spelled as in the route.
    for path in ["/%61pi/x", "/api;v=1/x", "/api%2fx"] {
        assert_eq!(get(gate.gateway, path, &caller.fields()).status, 400);
    }
    assert_eq!(upstream.seen().len(), 6);
}

#[test]
fn stripping_makes_no_other_path() {
    let lenient = "strip_prefix = true\nallow_double_slash = true\nallow_encoded_slash = true";
    for more in ["strip_prefix = true", lenient] {
        let (gate, upstream, caller) = gate(more);
        for path in [
            "/api/..",
            "/api/../admin",
            "/api/..;/admin",
            "/api/%2e%2e/admin",
            "/api/./x",
            "/api//evil.example/x",
            "/api/%2fevil.example/x",
            "/api/..%2fadmin",
            "/api/x%2f..%2fadmin",
            "/api%2f..",
            "//api/x",
            "/x/../api/x",
        ] {
            let status = get(gate.gateway, path, &caller.fields()).status;
            assert!(matches!(status, 400 | 404), "{path}: {status}");
        }
        assert_eq!(upstream.seen(), [""; 0]);
    }
}

#[test]
fn absolute_form_is_stripped_like_any_other() {
    let (gate, upstream, caller) = gate("strip_prefix = true");
    let fields = caller.fields();
    let reply = get(gate.gateway, "http://app.example/api/x?q", &fields);
    assert_eq!(reply.status, 200);
    assert_eq!(line(&upstream.seen()[0]), "GET /x?q HTTP/1.1");
    get(gate.gateway, "http://app.example/api?q", &fields);
    assert_eq!(line(&upstream.seen()[1]), "GET /?q HTTP/1.1");
}

#[test]
fn upstream_gets_the_host_of_its_route() {
    let (gate, upstream, caller) = gate("upstream_host = \"app.internal:8443\"");
    for path in ["/api/x", "http://app.example/api/x"] {
        assert_eq!(get(gate.gateway, path, &caller.fields()).status, 200);
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(line(&seen), "GET /api/x HTTP/1.1");
        assert_eq!(field(&seen, "Host"), Some("app.internal:8443"));
        assert_eq!(seen.to_lowercase().matches("\nhost:").count(), 1, "{seen}");
        assert_eq!(field(&seen, "X-Forwarded-Host"), Some("app.example"));
    }
}

#[test]
fn fields_of_an_answer_are_removed() {
    let tape = Tape::start();
    let route = "[[route]]\nname = \"all\"\nallow = \"anyone\"\nupstream = \"app\"\n";
    let upstream = format!("[upstream.app]\npeers = [\"{}\"]\n", tape.address);
    let gate = Gate::start(&format!("{route}{upstream}"));
    assert_eq!(get(gate.gateway, "/", "").field("Server"), Some("tape"));
    let rules = "response_headers = { remove = [\"Server\"] }\n";
    let gate = Gate::start(&format!("{route}{rules}{upstream}"));
    let reply = get(gate.gateway, "/", "");
    assert_eq!((reply.status, reply.field("Server")), (200, None));
}
