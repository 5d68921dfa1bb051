//! Forward-auth, asked directly and by the real nginx.

use crate::harness::{Caller, Gate, Reply, Upstream, get, routes, send};

fn described(path: &str) -> String {
    format!("X-Original-Method: GET\r\nX-Original-URL: https://app.example{path}\r\n")
}

fn ask(gate: &Gate, path: &str, caller: Option<&Caller>) -> Reply {
    let fields = caller.map(Caller::fields).unwrap_or_default();
    get(
        gate.service,
        "/forward-auth/nginx",
        &format!("{}{fields}", described(path)),
    )
}

#[test]
fn route_table_decides_on_the_original_request() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let caller = gate.register("billing", "payments");
    let reply = ask(&gate, "/api", Some(&caller));
    assert_eq!((reply.status, &*reply.body), (200, ""));
    assert_eq!(reply.field("X-Auth-Name"), Some("billing"));
    assert_eq!(reply.field("X-Auth-Realm"), Some("payments"));
    assert_eq!(reply.field("X-Forwarded-User"), Some("billing@payments"));
    assert_eq!(ask(&gate, "/ops", Some(&caller)).status, 403);
    let reply = ask(&gate, "/api", None);
    assert_eq!((reply.status, &*reply.body), (401, ""));
    assert!(reply.field("WWW-Authenticate").is_some());
    let public = ask(&gate, "/public", None);
    assert_eq!(public.status, 200);
    assert_eq!(public.field("X-Auth-Name"), None);
    for path in [
        "/public/../ops",
        "/public/%2e%2e/ops",
        "/a//b",
        "/a%2fb",
        "/a\\b",
    ] {
        let reply = ask(&gate, path, Some(&caller));
        assert_eq!((reply.status, &*reply.body), (403, ""), "{path}");
    }
    assert_eq!(upstream.seen(), [""; 0]);
}

#[test]
fn without_routes_every_authenticated_principal_passes() {
    let gate = Gate::start("");
    let caller = gate.register("billing", "payments");
    assert_eq!(ask(&gate, "/anything", Some(&caller)).status, 200);
    assert_eq!(ask(&gate, "/anything", None).status, 401);
    let reply = get(gate.service, "/forward-auth", &caller.fields());
    assert_eq!((reply.status, &*reply.body), (200, ""));
    assert_eq!(reply.field("X-Auth-Token"), Some(""));
    let reply = get(gate.service, "/forward-auth", "");
    assert_eq!((reply.status, &*reply.body), (401, ""));
}

#[test]
fn own_url_narrows_to_realm_and_name() {
    let gate = Gate::start("");
    let caller = gate.register("billing", "payments");
    for (query, expected) in [
        ("realm=payments", 200),
        ("realm=ops&realm=payments", 200),
        ("realm=payments&name=billing", 200),
        ("realm=ops", 403),
        ("realm=payments&name=alice", 403),
        ("realms=payments", 403),
        ("realm=", 403),
    ] {
        let path = format!("/forward-auth?{query}");
        assert_eq!(
            get(gate.service, &path, &caller.fields()).status,
            expected,
            "{query}"
        );
        let path = format!("/forward-auth/nginx?{query}");
        let fields = format!("{}{}", described("/x"), caller.fields());
        assert_eq!(
            get(gate.service, &path, &fields).status,
            expected,
            "{query}"
        );
    }
}

#[test]
fn description_is_read_from_nginx_own_fields_only() {
    let gate = Gate::start("");
    let caller = gate.register("billing", "payments");
    let forwarded = "X-Forwarded-Method: GET\r\nX-Forwarded-Host: a\r\nX-Forwarded-Uri: /x\r\n";
    for fields in [
        String::new(),
        forwarded.to_owned(),
        described("/a").replace("X-Original-Method: GET\r\n", ""),
        format!("{}{}", described("/a"), described("/b")),
    ] {
        let fields = format!("{fields}{}", caller.fields());
        let reply = get(gate.service, "/forward-auth/nginx", &fields);
        assert_eq!((reply.status, &*reply.body), (403, ""), "{fields}");
    }
}

#[test]
fn description_from_a_peer_that_is_not_trusted_is_refused() {
    let untrusted = [("REALMGATE_SERVICE_TRUSTED_PROXIES", "[\"10.0.0.0/8\"]")];
    let gate = Gate::start_with(&untrusted, "");
    let caller = gate.register("billing", "payments");
    assert_eq!(ask(&gate, "/x", Some(&caller)).status, 403);
    assert_eq!(
        get(gate.service, "/forward-auth", &caller.fields()).status,
        200
    );
}

#[test]
fn method_body_and_upgrade_of_the_sub_request_do_not_matter() {
    let gate = Gate::start("");
    let caller = gate.register("billing", "payments");
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
        let body = if method == "HEAD" { "" } else { "some body" };
        let reply = send(
            gate.service,
            method,
            "/forward-auth",
            &caller.fields(),
            body,
        );
        assert_eq!(reply.status, 200, "{method}");
    }
    let fields = format!("Upgrade: websocket\r\n{}", caller.fields());
    assert_eq!(get(gate.service, "/forward-auth", &fields).status, 200);
}

#[test]
fn unknown_front_proxy_is_no_endpoint() {
    let gate = Gate::start("");
    let caller = gate.register("billing", "payments");
    for path in [
        "/forward-auth/",
        "/forward-auth/apache",
        "/forward-auth/nginx/",
    ] {
        assert_eq!(
            get(gate.service, path, &caller.fields()).status,
            404,
            "{path}"
        );
    }
}

#[test]
fn request_line_without_a_path_is_no_question() {
    let gate = Gate::start("");
    let caller = gate.register("billing", "payments");
    for target in [
        "healthz",
        "http://h/healthz",
        "http://h/forward-auth",
        "*",
        "x:y",
        "?x",
    ] {
        let reply = get(gate.service, target, &caller.fields());
        assert_eq!(reply.status, 400, "{target}");
    }
}
