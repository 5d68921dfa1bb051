//! Forward-auth, directly and with the real nginx.

mod front;

use std::io::Write;
use std::net::TcpStream;

use crate::harness::{
    Caller, Gate, Reply, Upstream, get, parse, read_message, routes, send, until,
};

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
fn default_header_that_an_upstream_moves_is_sent_once() {
    let gate = Gate::start(
        "[[route]]\nname = 'all'\nallow = 'authenticated'\nupstream = 'app'\n\
        [upstream.app]\npeers = ['127.0.0.1:9']\nidentity_headers = { user = 'X-Auth-Name' }\n",
    );
    let caller = gate.register("billing", "payments");
    let reply = ask(&gate, "/", Some(&caller));
    assert_eq!(reply.status, 200);
    let head = reply.head.to_ascii_lowercase();
    let lines = head.lines().filter(|it| it.starts_with("x-auth-name:"));
    assert_eq!(lines.collect::<Vec<_>>(), ["x-auth-name: billing@payments"]);
    assert_eq!(reply.field("X-Forwarded-User"), Some("billing@payments"));
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

/// A restriction that is lost on the way must not allow everyone.
#[test]
fn empty_restriction_of_envoy_is_rejected() {
    let gate = Gate::start("");
    let caller = gate.register("billing", "payments");
    let path = "/forward-auth/envoy/x";
    assert_eq!(get(gate.service, path, &caller.fields()).status, 200);
    for (restriction, expected) in [("", 403), (" ", 403), ("realm=", 403), ("realm=ops", 403)] {
        let line = format!("X-Realmgate-Narrow: {restriction}\r\n");
        let fields = format!("{line}{}", caller.fields());
        let status = get(gate.service, path, &fields).status;
        assert_eq!(status, expected, "{restriction:?}");
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
fn description_from_a_peer_that_is_not_trusted_is_rejected() {
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
fn request_line_without_a_path_is_no_auth_request() {
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

/// Describes a request for a path.
type Words = fn(&str) -> String;

/// Every endpoint that reads a description from headers, and the description of a path at the host
/// `app.example`.
const ENDPOINTS: [(&str, Words); 4] = [
    ("nginx", described),
    ("traefik", forwarded),
    ("caddy", forwarded),
    ("haproxy", forwarded),
];

fn forwarded(path: &str) -> String {
    format!(
        "X-Forwarded-Method: GET\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: app.example\r\n\
         X-Forwarded-Uri: {path}\r\n"
    )
}

#[test]
fn each_endpoint_reads_its_own_headers_and_no_others() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let caller = gate.register("billing", "payments");
    let fields = caller.fields();
    for (name, own) in ENDPOINTS {
        let endpoint = format!("/forward-auth/{name}");
        let foreign: Words = if name == "nginx" {
            forwarded
        } else {
            described
        };
        for (words, expected) in [
            (own("/api"), 200),
            (own("/ops"), 403),
            (foreign("/api"), 403),
            (own("/ops") + &foreign("/api"), 403),
            (foreign("/api") + &own("/ops"), 403),
            (own("/api") + &foreign("/ops"), 200),
            (own("/api") + &own("/api"), 403),
            (String::new(), 403),
        ] {
            let reply = get(gate.service, &endpoint, &format!("{words}{fields}"));
            assert_eq!(
                (reply.status, &*reply.body),
                (expected, ""),
                "{name}: {words}"
            );
            assert_eq!(reply.field("Content-Length"), Some("0"), "{reply:?}");
        }
    }
    for words in [described("/api"), forwarded("/api")] {
        let reply = get(
            gate.service,
            "/forward-auth/envoy/ops",
            &format!("{words}{fields}"),
        );
        assert_eq!((reply.status, &*reply.body), (403, ""), "{words}");
    }
}

/// The address only decides whose failures are counted: a malformed one changes no decision.
#[test]
fn address_that_cannot_be_read_changes_no_decision() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let caller = gate.register("billing", "payments");
    for (name, field) in [
        ("nginx", "X-Real-IP"),
        ("traefik", "X-Forwarded-For"),
        ("caddy", "X-Forwarded-For"),
        ("haproxy", "X-Forwarded-For"),
        ("envoy", "X-Forwarded-For"),
    ] {
        for address in [
            "",
            ",",
            "unknown",
            "1.2.3",
            "1.2.3.4, x",
            "::1::",
            "[::1",
            "999.1.1.1",
            "-1",
        ] {
            let line = format!("{field}: {address}\r\n");
            for fields in [line.clone(), format!("{line}{line}")] {
                for (path, credential, expected) in [
                    ("/api", caller.fields(), 200),
                    ("/ops", caller.fields(), 403),
                    ("/api", String::new(), 401),
                    ("/public", String::new(), 200),
                ] {
                    let (target, words) = match name {
                        "nginx" => ("/forward-auth/nginx".to_owned(), described(path)),
                        "envoy" => (format!("/forward-auth/envoy{path}"), String::new()),
                        _ => (format!("/forward-auth/{name}"), forwarded(path)),
                    };
                    let fields = format!("{words}{fields}{credential}");
                    let reply = get(gate.service, &target, &fields);
                    assert_eq!(reply.status, expected, "{target} {fields}");
                }
            }
        }
    }
}

#[test]
fn envoys_path_is_read_as_it_came() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let caller = gate.register("billing", "payments");
    for (target, expected) in [
        ("/forward-auth/envoy/public", 200),
        ("/forward-auth/envoy/", 401),
        ("/forward-auth/envoy", 404),
        ("/forward-auth/envoyx/public", 404),
        ("/forward-auth/envoy?/public", 404),
        ("/forward-auth/envoy//public", 403),
        ("/forward-auth/envoy/public//x", 403),
        ("/forward-auth/envoy/public/../ops", 403),
        ("/forward-auth/envoy/public/..", 403),
        ("/forward-auth/envoy/public/%2e%2e/ops", 403),
        ("/forward-auth/envoy/public/%2E./ops", 403),
        ("/forward-auth/envoy/public%2f..%2fops", 403),
        ("/forward-auth/envoy/public\\..\\ops", 403),
        ("/forward-auth/envoy/public#/../ops", 403),
        ("/forward-auth/envoy/public\u{e9}", 403),
        ("/forward-auth/envoy/ops?/public", 401),
        ("/forward-auth/envoy/../forward-auth", 403),
        ("/forward-auth/envoy/..", 403),
        ("/forward-auth/nginx/../envoy/public", 404),
        ("/forward-auth%2fenvoy/public", 404),
        ("//forward-auth/envoy/public", 404),
    ] {
        let reply = get(gate.service, target, "");
        assert_eq!(reply.status, expected, "{target}");
    }
    let reply = get(gate.service, "/forward-auth/envoy/ops", &caller.fields());
    assert_eq!(reply.status, 403);
}

/// Reads responses without a body from one connection.
fn answers(gate: &Gate, request: &str) -> Vec<u16> {
    let mut stream = TcpStream::connect(gate.service).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut statuses = Vec::new();
    while let Some(answer) = read_message(&mut stream) {
        statuses.push(parse(answer.as_bytes()).status);
    }
    statuses
}

/// The memory of the headers of a request is used again for the next one of its connection.
#[test]
fn headers_of_a_request_do_not_reach_the_next_one() {
    let gate = Gate::start("");
    let one = gate.register("billing", "payments");
    let other = gate.register("alice", "ops");
    let mut stream = TcpStream::connect(gate.service).unwrap();
    let mut ask = |fields: &str| {
        let request = format!("GET /forward-auth HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        parse(read_message(&mut stream).unwrap().as_bytes())
    };
    for caller in [Some(&one), None, Some(&other), None, Some(&one)] {
        let more = "X-More: 1\r\nX-More: 2\r\nCookie: x-more=3\r\n";
        let more = caller.map(|caller| format!("{more}{}", caller.fields()));
        let reply = ask(&more.unwrap_or_default());
        let name = caller.map(|caller| match std::ptr::eq(caller, &one) {
            true => "billing",
            false => "alice",
        });
        assert_eq!(reply.status, if name.is_some() { 200 } else { 401 });
        assert_eq!(reply.field("X-Auth-Name"), name);
        let head = reply.head.to_ascii_lowercase();
        assert!(!head.contains("x-more"), "{head}");
    }
}

/// Two auth requests in one packet; the body of the first looks like a third.
#[test]
fn body_of_a_sub_request_is_never_read_as_an_auth_request() {
    let gate = Gate::start("");
    let caller = gate.register("billing", "payments");
    let hidden = format!(
        "GET /forward-auth HTTP/1.1\r\nHost: h\r\n{}\r\n",
        caller.fields()
    );
    let length = hidden.len();
    let last = "GET /forward-auth HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    for (fields, body) in [
        (format!("Content-Length: {length}\r\n"), hidden.clone()),
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n"),
        ),
        (
            format!("Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: {length}\r\n"),
            hidden.clone(),
        ),
        (
            format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"),
            hidden.clone(),
        ),
        // Announced but not sent: the following bytes are the body.
        (
            format!("Content-Length: {}\r\n", last.len() + 1),
            String::new(),
        ),
    ] {
        let first = format!("POST /forward-auth HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}");
        let statuses = answers(&gate, &format!("{first}{last}"));
        // The connection may be closed or not; the body must not be read as an auth request.
        assert!(
            matches!(*statuses, [401] | [401, 401]),
            "{fields}: {statuses:?}"
        );
    }
}

/// The response is sent at once, and the connection is closed.
#[test]
fn endless_body_of_a_sub_request_is_not_read() {
    let gate = Gate::start("");
    let mut stream = TcpStream::connect(gate.service).unwrap();
    let head = "POST /forward-auth HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let answer = read_message(&mut stream).unwrap();
    assert_eq!(parse(answer.as_bytes()).status, 401);
    until("the connection goes", || {
        stream.write_all(&[b'x'; 1024]).is_err()
    });
}

/// Fails from an address that a header names, until that address is throttled.
fn fail_from(gate: &Gate, path: &str, line: &str, caller: &Caller) {
    for _ in 0..20 {
        let wrong = caller.fields_with(&caller.wrong_token());
        let reply = get(gate.service, path, &format!("{line}{wrong}"));
        assert_eq!(reply.status, 401);
    }
    until("the address is throttled", || {
        is_throttled(gate, path, (line, line), caller)
    });
}

/// Fails once more from an address, and returns whether the right token is rejected from another. A
/// delay may have ended just before, and the next one is twice as long.
fn is_throttled(gate: &Gate, path: &str, (failing, line): (&str, &str), caller: &Caller) -> bool {
    let wrong = caller.fields_with(&caller.wrong_token());
    get(gate.service, path, &format!("{failing}{wrong}"));
    let right = get(gate.service, path, &format!("{line}{}", caller.fields()));
    right.status == 401
}

#[test]
fn configured_header_names_the_client_at_the_endpoint_for_any_front_proxy() {
    let header = [("REALMGATE_SERVICE_CLIENT_ADDRESS_HEADER", "X-Forwarded-For")];
    let gate = Gate::start_with(&header, "");
    let caller = gate.register("billing", "payments");
    let from = |address: &str| format!("X-Forwarded-For: 203.0.113.1, {address}\r\n");
    let ask = || {
        let fields = format!("{}{}", from("192.0.2.7"), caller.fields());
        get(gate.service, "/forward-auth", &fields).status
    };
    assert_eq!(ask(), 200);
    fail_from(&gate, "/forward-auth", &from("192.0.2.66"), &caller);
    assert_eq!(ask(), 200);
    assert!(!gate.log().contains("names no address of its clients"));
}

#[test]
fn header_of_an_untrusted_peer_names_no_client() {
    let gate = Gate::start_with(
        &[
            ("REALMGATE_SERVICE_TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
            ("REALMGATE_SERVICE_CLIENT_ADDRESS_HEADER", "X-Forwarded-For"),
        ],
        "",
    );
    let caller = gate.register("billing", "payments");
    let from = |last: usize| format!("X-Forwarded-For: 192.0.2.{last}\r\n");
    fail_from(&gate, "/forward-auth", &from(66), &caller);
    let lines = (&*from(66), &*from(7));
    until("the peer is throttled", || {
        is_throttled(&gate, "/forward-auth", lines, &caller)
    });
}

#[test]
fn front_proxy_that_names_no_client_is_warned_of_once() {
    let gate = Gate::start("");
    let caller = gate.register("billing", "payments");
    for _ in 0..3 {
        get(gate.service, "/forward-auth", &caller.fields());
        for proxy in ["traefik", "haproxy"] {
            let fields = format!("{}{}", forwarded("/x"), caller.fields());
            get(gate.service, &format!("/forward-auth/{proxy}"), &fields);
        }
    }
    let log = gate.log();
    let warnings: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("names no address of its clients"))
        .collect();
    assert_eq!(warnings.len(), 3, "{log}");
    for proxy in ["any", "traefik", "haproxy"] {
        let of = format!("front_proxy=\"{proxy}\"");
        let line = warnings.iter().find(|line| line.contains(&of)).unwrap();
        let names_key = line.contains("set service.client_address_header");
        assert_eq!(names_key, proxy == "any", "{line}");
        assert!(line.contains("peer=127.0.0.1"), "{line}");
    }
}

#[test]
fn peer_that_is_not_trusted_is_not_warned_of() {
    let untrusted = [("REALMGATE_SERVICE_TRUSTED_PROXIES", "[\"10.0.0.0/8\"]")];
    let gate = Gate::start_with(&untrusted, "");
    let caller = gate.register("billing", "payments");
    get(gate.service, "/forward-auth", &caller.fields());
    assert!(!gate.log().contains("names no address of its clients"));
}

#[test]
fn trace_and_connect_are_rejected_at_every_endpoint() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    for method in ["TRACE", "CONNECT"] {
        for (path, words) in [
            ("/forward-auth/nginx", described("/public")),
            ("/forward-auth/traefik", forwarded("/public")),
            ("/forward-auth/caddy", forwarded("/public")),
            ("/forward-auth/haproxy", forwarded("/public")),
        ] {
            let good = get(gate.service, path, &words);
            assert_eq!(good.status, 200, "{path}");
            let words = words.replace("-Method: GET", &format!("-Method: {method}"));
            let reply = get(gate.service, path, &words);
            assert_eq!((reply.status, &*reply.body), (403, ""), "{method} {path}");
        }
    }
    let trace = send(gate.service, "TRACE", "/forward-auth/envoy/public", "", "");
    assert_eq!((trace.status, &*trace.body), (403, ""));
}

/// The usual mistake is `/forward-auth` in place of the endpoint of the front proxy.
#[test]
fn request_that_passes_without_the_routes_is_warned_of_once() {
    const TEXT: &str = "a request passed at /forward-auth, where the routes do not apply";
    let route = "[[route]]\nname = \"app\"\nallow = [{ realm = \"payments\" }]\nupstream = \"app\"\n\
                 [upstream.app]\npeers = [\"127.0.0.1:9\"]\n";
    let gate = Gate::start(route);
    let [alice, bob] = ["alice", "bob"].map(|name| gate.register(name, "ops"));
    let ask = |caller: &Caller, path: &str| get(gate.service, path, &caller.fields()).status;
    let count = || gate.log().matches(TEXT).count();
    // Restricted, and denied.
    assert_eq!(ask(&alice, "/forward-auth?realm=ops"), 200);
    assert_eq!(ask(&alice, "/forward-auth?realm=payments"), 403);
    assert_eq!(get(gate.service, "/forward-auth", "").status, 401);
    assert_eq!(count(), 0);
    assert_eq!(ask(&alice, "/forward-auth"), 200);
    until("the warning", || count() == 1);
    assert_eq!(ask(&bob, "/forward-auth"), 200);
    assert_eq!(count(), 1);
    // Without routes, there is nothing to warn of.
    let gate = Gate::start("");
    let carol = gate.register("carol", "ops");
    assert_eq!(
        get(gate.service, "/forward-auth", &carol.fields()).status,
        200
    );
    gate.signal("TERM");
    until("the end", || gate.log().contains("stopped"));
    assert!(!gate.log().contains(TEXT));
}
