//! Properties that hold behind every front proxy. A case mentions front proxies that reject a
//! request themselves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;

use data_encoding::BASE64;

use super::{Program, Rig, identity_like, no_credential};
use crate::harness::{PATIENCE, Reply, field, get, raw, send, stdout, until};

pub(super) fn good_credential_passes_as_identity_without_token(program: Program) {
    let rig = Rig::start(program);
    let reply = get(rig.address(), "/api?q=1", &rig.billing.fields());
    assert_eq!(reply.status, 200);
    let seen = rig.passed_as(&rig.billing);
    assert!(seen.starts_with("GET /api?q=1 HTTP/1.1\r\n"), "{seen}");
}

pub(super) fn basic_credential_passes_as_identity_without_token(program: Program) {
    let rig = Rig::start(program);
    let user = format!("billing@payments:{}", rig.billing.token());
    let reply = curl(&["-u", &user, &format!("http://{}/api", rig.address())]);
    assert_eq!(reply, "200");
    rig.passed_as(&rig.billing);
}

pub(super) fn no_credential_is_401_with_a_challenge(program: Program) {
    let rig = Rig::start(program);
    let reply = get(rig.address(), "/api", "");
    assert_eq!(reply.status, 401);
    assert!(reply.field("WWW-Authenticate").is_some(), "{reply:?}");
    rig.nothing_passed();
}

pub(super) fn wrong_token_is_401(program: Program) {
    let rig = Rig::start(program);
    let wrong = rig.billing.fields_with(&rig.billing.wrong_token());
    assert_eq!(get(rig.address(), "/api", &wrong).status, 401);
    rig.nothing_passed();
}

pub(super) fn denial_names_its_request(program: Program) {
    let rig = Rig::start(program);
    let wrong = rig.billing.fields_with(&rig.billing.wrong_token());
    for (path, fields, status) in [("/api", wrong, 401), ("/ops/x", rig.billing.fields(), 403)] {
        let reply = get(rig.address(), path, &fields);
        assert_eq!(reply.status, status, "{reply:?}");
        let id = reply.field("X-Request-Id");
        let id = id.unwrap_or_else(|| panic!("{reply:?}"));
        until("it is logged", || rig.gate.log().contains(id));
    }
    rig.nothing_passed();
}

pub(super) fn other_realm_is_403(program: Program) {
    let rig = Rig::start(program);
    assert_eq!(
        get(rig.address(), "/ops/x", &rig.billing.fields()).status,
        403
    );
    rig.nothing_passed();
    assert_eq!(get(rig.address(), "/ops/x", &rig.olga.fields()).status, 200);
    rig.passed_as(&rig.olga);
}

/// HAProxy and Envoy join the values of repeated headers; the joined value is not a token.
pub(super) fn credential_twice_is_401(program: Program) {
    let rig = Rig::start(program);
    let good = rig.billing.fields();
    let wrong = format!("X-Auth-Token: {}\r\n", rig.billing.wrong_token());
    for fields in [format!("{good}{wrong}"), format!("{wrong}{good}")] {
        assert_eq!(get(rig.address(), "/api", &fields).status, 401);
    }
    let name = format!("{good}X-Auth-Name: olga\r\n");
    assert_eq!(get(rig.address(), "/api", &name).status, 401);
    rig.nothing_passed();
}

/// A malformed credential counts as none, and never as an error that permits.
pub(super) fn credential_that_cannot_be_read_is_none(program: Program) {
    let rig = Rig::start(program);
    let good = rig.billing.fields();
    let basic = |text: &[u8]| format!("Authorization: Basic {}\r\n", BASE64.encode(text));
    for fields in [
        "Authorization: Basic\r\n".to_owned(),
        "Authorization: Basic !\r\n".to_owned(),
        "Authorization: Basic Og==\r\n".to_owned(),
        format!("Authorization: Bearer {}\r\n", rig.billing.token()),
        basic(b"billing"),
        basic(b"billing:123456"),
        basic(b"@:123456"),
        basic(b"\xff\xfe@payments:123456"),
        basic(&vec![b'x'; 5000]),
        good.replace("billing", ""),
        good.replace("billing", "%62illing"),
        good.replace("billing", &"x".repeat(129)),
        good.replace("X-Auth-Token: ", "X-Auth-Token: x"),
        good.replace("X-Auth-Token: ", "Cookie: X-Auth-Token="),
        "Cookie: a=\x01;;=;\"\r\n".to_owned(),
    ] {
        let reply = get(rig.address(), "/api", &fields);
        // nginx forwards even invalid headers, and turns the resulting 400 into a 500.
        assert!(
            matches!(reply.status, 400 | 401 | 500),
            "{fields}: {reply:?}"
        );
    }
    rig.nothing_passed();
}

pub(super) fn public_route_passes_without_identity(program: Program) {
    let rig = Rig::start(program);
    assert_eq!(get(rig.address(), "/public/x", "").status, 200);
    let seen = rig.app.seen().pop().unwrap();
    for name in ["X-Auth-Name", "X-Auth-Realm", "X-Forwarded-User"] {
        assert_eq!(field(&seen, name).unwrap_or_default(), "", "{seen}");
    }
}

/// A token is valid everywhere until it expires, so it must not reach an application even on a
/// public route.
pub(super) fn credential_on_a_public_route_stays_here(program: Program) {
    let rig = Rig::start(program);
    let token = rig.billing.token();
    let url = format!("http://{}/public/x", rig.address());
    let user = format!("billing@payments:{token}");
    assert_eq!(curl(&["-u", &user, &url]), "200");
    let reply = get(rig.address(), "/public/x", &rig.billing.fields());
    assert_eq!(reply.status, 200);
    for seen in rig.app.seen() {
        no_credential(&seen);
        assert!(!seen.contains(&token), "{seen}");
    }
    assert_eq!(rig.app.seen().len(), 2);
}

pub(super) fn nothing_passes_while_realmgate_is_down(program: Program) {
    let mut rig = Rig::start(program);
    rig.gate.child.kill().unwrap();
    rig.gate.child.wait().unwrap();
    for path in ["/api", "/public/x"] {
        let reply = get(rig.address(), path, &rig.billing.fields());
        assert!(matches!(reply.status, 403 | 500..=504), "{reply:?}");
    }
    rig.nothing_passed();
}

const CLAIMS: &str = "X-Forwarded-User: root@ops\r\nx-forwarded-user: root@ops\r\n\
    X_Forwarded_User: root@ops\r\nX.Forwarded.User: root@ops\r\nX~Forwarded+User: root@ops\r\n\
    X_Auth_Name: root\r\nX.Auth.Name: root\r\nx_auth-realm: root\r\nX!Auth|Realm: root\r\n\
    X^Auth`Name: root\r\nX$Auth%Name: root\r\nX#Auth&Name: root\r\nX'Auth*Name: root\r\n";

/// Envoy rejects headers with `_` in their name.
pub(super) fn claimed_identity_never_arrives_beside_a_good_credential(program: Program) {
    let rig = Rig::start(program);
    let fields = format!("{CLAIMS}{}", rig.billing.fields());
    let reply = get(rig.address(), "/api", &fields);
    if reply.status == 400 {
        assert!(program.is_envoy());
        rig.nothing_passed();
        let without: String = CLAIMS
            .split_inclusive('\n')
            .filter(|line| !line.contains('_'))
            .collect();
        let fields = format!("{without}{}", rig.billing.fields());
        assert_eq!(get(rig.address(), "/api", &fields).status, 200);
    }
    let seen = rig.passed_as(&rig.billing);
    assert!(!seen.contains("root"), "{seen}");
}

pub(super) fn claimed_identity_never_arrives_on_a_public_route(program: Program) {
    let rig = Rig::start(program);
    let claims = CLAIMS
        .split_inclusive('\n')
        .filter(|line| !line.contains('_') || !program.is_envoy());
    let claims: String = claims.collect();
    let direct = "X-Auth-Name: root\r\nx-auth-realm: root\r\nX-Auth-Token: root\r\n";
    let nominated = "Connection: X-Auth-Name, X-Auth-Realm, X-Forwarded-User\r\n";
    for fields in [
        claims.clone(),
        format!("{direct}{claims}"),
        format!("{nominated}{direct}"),
    ] {
        let reply = get(rig.address(), "/public/x", &fields);
        assert!(matches!(reply.status, 200 | 400), "{reply:?}");
    }
    for seen in rig.app.seen() {
        assert!(!seen.contains("root"), "{seen}");
    }
}

/// Hops may drop the headers that `Connection` names, but not the identity.
pub(super) fn identity_nominated_as_hop_by_hop_arrives_all_the_same(program: Program) {
    let rig = Rig::start(program);
    let head = format!(
        "GET /api HTTP/1.1\r\nHost: app.example\r\n{}Connection: close, X-Auth-Name, X-Auth-Realm, X-Forwarded-User\r\n\r\n",
        rig.billing.fields()
    );
    let reply = raw(rig.address(), head.as_bytes());
    // Some front proxies drop a credential that `Connection` names, so the request is not
    // authenticated.
    if reply.status == 200 {
        rig.passed_as(&rig.billing);
    } else {
        assert!(matches!(reply.status, 400 | 401), "{reply:?}");
        rig.nothing_passed();
    }
}

pub(super) fn identity_in_a_trailer_never_arrives(program: Program) {
    let rig = Rig::start(program);
    let request = format!(
        "POST /api HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{}Trailer: X-Auth-Name, X-Forwarded-User\r\n\
         TE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Auth-Name: root\r\nX-Forwarded-User: root\r\n\r\n",
        rig.billing.fields()
    );
    let reply = raw(rig.address(), request.as_bytes());
    if reply.status == 200 {
        let seen = rig.passed_as(&rig.billing);
        assert!(!seen.contains("root"), "{seen}");
    } else {
        assert_eq!(reply.status, 400);
        rig.nothing_passed();
    }
    let unannounced = request.replace("Trailer: X-Auth-Name, X-Forwarded-User\r\n", "");
    let reply = raw(rig.address(), unannounced.as_bytes());
    assert!(matches!(reply.status, 200 | 400), "{reply:?}");
    for seen in rig.app.seen() {
        let (head, body) = seen.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("root"), "{seen}");
        // HAProxy forwards trailers, as its file says.
        assert!(
            program == Program::Haproxy || !body.contains("root"),
            "{seen}"
        );
    }
}

/// A client's description of the request, in the headers of any front proxy, is ignored.
pub(super) fn description_of_a_client_is_ignored(program: Program) {
    let rig = Rig::start(program);
    let described = "X-Original-Method: GET\r\nX-Original-URL: http://app.example/public\r\n\
        X-Forwarded-Method: GET\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: app.example\r\n\
        X-Forwarded-Uri: /public\r\nX-Forwarded-Prefix: /public\r\nX-Rewrite-URL: /public\r\n\
        X-Forwarded-Port: 1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Realmgate-Narrow: realm=payments\r\n\
        X-Envoy-Original-Path: /public\r\nForwarded: host=public\r\n";
    for fields in [String::new(), rig.billing.fields()] {
        let fields = format!("{described}{fields}");
        let reply = get(rig.address(), "/ops/x", &fields);
        assert!(matches!(reply.status, 400 | 401 | 403), "{reply:?}");
    }
    rig.nothing_passed();
}

pub(super) fn front_proxy_that_is_not_trusted_is_believed_nothing(program: Program) {
    let trusted = [("REALMGATE_SERVICE_TRUSTED_PROXIES", "['192.0.2.1']")];
    let rig = Rig::with(program, &trusted, |text| text);
    // Over gRPC, its connections are closed, and it gets no response.
    let expected = match program {
        Program::EnvoyGrpc => 503,
        _ => 403,
    };
    for path in ["/api", "/public/x"] {
        let reply = get(rig.address(), path, &rig.billing.fields());
        assert_eq!(reply.status, expected, "{reply:?}");
    }
    rig.nothing_passed();
}

pub(super) fn health_checks_are_authorized_too(program: Program) {
    let rig = Rig::start(program);
    for agent in ["GoogleHC/1.0", "kube-probe/1.30", "ELB-HealthChecker/2.0"] {
        let fields = format!("User-Agent: {agent}\r\n");
        assert_eq!(get(rig.address(), "/api", &fields).status, 401);
    }
    rig.nothing_passed();
}

pub(super) fn head_passes(program: Program) {
    let rig = Rig::start(program);
    let reply = send(rig.address(), "HEAD", "/api", &rig.billing.fields(), "");
    assert_eq!(reply.status, 200);
    assert!(rig.passed_as(&rig.billing).starts_with("HEAD /api "));
    assert_eq!(send(rig.address(), "HEAD", "/api", "", "").status, 401);
}

pub(super) fn body_passes_whole(program: Program) {
    let rig = Rig::start(program);
    let reply = send(
        rig.address(),
        "POST",
        "/api",
        &rig.billing.fields(),
        "hello",
    );
    assert_eq!(reply.status, 200);
    assert!(rig.passed_as(&rig.billing).ends_with("\r\n\r\nhello"));
    assert_eq!(send(rig.address(), "POST", "/api", "", "hello").status, 401);
}

pub(super) fn large_body_passes_whole(program: Program) {
    let rig = Rig::start(program);
    let body = "y".repeat(8 << 20);
    let reply = send(rig.address(), "PUT", "/api", &rig.billing.fields(), &body);
    assert_eq!(reply.status, 200);
    let passed = rig.passed_as(&rig.billing);
    // Some front proxies switch to chunks.
    assert!(passed.matches('y').count() >= body.len());
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(super) fn websocket_passes_with_a_credential_only(program: Program) {
    let rig = Rig::start(program);
    let refused = format!("GET /ws HTTP/1.1\r\nHost: app.example\r\n{UPGRADE}\r\n");
    assert_eq!(begin(&rig, &refused).0.status, 401);
    rig.nothing_passed();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: app.example\r\n{UPGRADE}{}\r\n",
        rig.billing.fields()
    );
    let (reply, mut stream) = begin(&rig, &request);
    assert_eq!(reply.status, 101, "{reply:?}");
    stream.write_all(b"\x81\x02hi").unwrap();
    let mut echoed = [0; 4];
    stream.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"\x81\x02hi");
    rig.passed_as(&rig.billing);
}

pub(super) fn upgrade_to_something_else_is_no_way_around(program: Program) {
    let rig = Rig::start(program);
    for upgrade in ["h2c", "TLS/1.0", "realmgate", "websocket, h2c"] {
        let request = format!(
            "GET /ops/x HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n\
             GET /ops/pipelined HTTP/1.1\r\nHost: app.example\r\n\r\n"
        );
        let (reply, _) = begin(&rig, &request);
        assert!(matches!(reply.status, 400 | 401 | 403), "{reply:?}");
    }
    rig.nothing_passed();
}

/// `/ops` has a route for GET and POST; other methods there are for every authenticated principal.
pub(super) fn methods_are_those_of_the_request(program: Program) {
    let rig = Rig::start(program);
    assert_eq!(
        send(rig.address(), "POST", "/ops/x", &rig.billing.fields(), "").status,
        403
    );
    // A caller who may not use GET may not use HEAD either.
    assert_eq!(
        send(rig.address(), "HEAD", "/ops/x", &rig.billing.fields(), "").status,
        403
    );
    rig.nothing_passed();
    assert_eq!(
        send(rig.address(), "PUT", "/ops/x", &rig.billing.fields(), "").status,
        200
    );
    rig.passed_as(&rig.billing);
}

pub(super) fn method_override_never_arrives(program: Program) {
    let rig = Rig::start(program);
    let fields = format!(
        "X-HTTP-Method-Override: POST\r\nX-HTTP-Method: POST\r\nX-Method-Override: POST\r\n{}",
        rig.billing.fields()
    );
    assert_eq!(
        send(rig.address(), "PUT", "/ops/x", &fields, "").status,
        200
    );
    let seen = rig.passed_as(&rig.billing).to_ascii_lowercase();
    assert!(
        !seen.contains("override: post") && !seen.contains("x-http-method: post"),
        "{seen}"
    );
}

/// `admin.example` is for the realm `ops`.
pub(super) fn host_counts_in_every_spelling(program: Program) {
    let rig = Rig::start(program);
    for host in [
        "admin.example",
        "ADMIN.example",
        "admin.example:80",
        "admin.example.",
        "Admin.Example.:8080",
    ] {
        let request = format!(
            "GET /api HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{}\r\n",
            rig.billing.fields()
        );
        let reply = raw(rig.address(), request.as_bytes());
        assert!(matches!(reply.status, 400 | 403 | 404), "{host}: {reply:?}");
    }
    for hosts in [
        "Host: admin.example\r\nHost: app.example",
        "Host: app.example\r\nHost: admin.example",
        "Host: app.example, admin.example",
        "Host: admin.example/app.example",
        "Host: app.example@admin.example",
        "X-Other: x",
    ] {
        let request = format!(
            "GET /ops/x HTTP/1.1\r\n{hosts}\r\nConnection: close\r\n{}\r\n",
            rig.billing.fields()
        );
        let reply = raw(rig.address(), request.as_bytes());
        assert!(
            matches!(reply.status, 400 | 403 | 404),
            "{hosts}: {reply:?}"
        );
    }
    rig.nothing_passed();
}

/// The host of the decision and the host that the application sees must be the same.
pub(super) fn whole_url_in_the_request_line_is_no_way_around(program: Program) {
    let rig = Rig::start(program);
    for (url, host) in [
        ("http://admin.example/api", "app.example"),
        ("http://app.example/api", "admin.example"),
        ("http://admin.example/api", "admin.example"),
        ("http://app.example/api", "app.example"),
        ("https://app.example/api", "app.example"),
        ("ftp://app.example/api", "app.example"),
        ("HTTP://app.example/api", "app.example"),
        ("http://app.example/public/../api", "app.example"),
        ("http:ops/x", "app.example"),
        ("mailto:x@admin.example", "app.example"),
        ("http:healthz", "app.example"),
        ("x:http://app.example/healthz", "app.example"),
        ("x:http://app.example/forward-auth", "app.example"),
        ("*", "app.example"),
    ] {
        let request = format!(
            "GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{}\r\n",
            rig.billing.fields()
        );
        let reply = raw(rig.address(), request.as_bytes());
        if reply.status == 200 {
            let seen = rig.app.seen().pop().unwrap();
            assert_eq!(
                field(&seen, "Host"),
                Some("app.example"),
                "{url} {host}: {seen}"
            );
            assert!(seen.starts_with("GET /api "), "{seen}");
        } else {
            assert!(
                matches!(reply.status, 400 | 403 | 404 | 421),
                "{url} {host}: {reply:?}"
            );
        }
    }
}

pub(super) fn query_and_fragment_satisfy_no_path(program: Program) {
    let rig = Rig::start(program);
    for path in [
        "/ops?/public",
        "/ops?x=/public/x",
        "/ops/?../public",
        "/ops#/public",
        "/ops/x;/public",
        "/ops%3f/public",
        "/ops%23/public",
    ] {
        let reply = get(rig.address(), path, "");
        assert!(matches!(reply.status, 400 | 401 | 403), "{path}: {reply:?}");
    }
    rig.nothing_passed();
}

/// Content-Length together with Transfer-Encoding, and similar attacks: the application must not
/// find a second request in the body of the first.
/// request in the body of a first one.
pub(super) fn two_lengths_smuggle_nothing(program: Program) {
    let rig = Rig::start(program);
    let hidden = "GET /ops/hidden HTTP/1.1\r\nHost: app.example\r\n\r\n";
    let chunked = format!("0\r\n\r\n{hidden}");
    for fields in [
        format!(
            "Content-Length: {}\r\nTransfer-Encoding: chunked",
            chunked.len()
        ),
        format!(
            "Transfer-Encoding: chunked\r\nContent-Length: {}",
            chunked.len()
        ),
        format!(
            "Transfer-Encoding: xchunked\r\nContent-Length: {}",
            chunked.len()
        ),
        format!(
            "Transfer-Encoding : chunked\r\nContent-Length: {}",
            chunked.len()
        ),
        format!(
            "Transfer-Encoding:\u{b}chunked\r\nContent-Length: {}",
            chunked.len()
        ),
        format!("Content-Length: 5\r\nContent-Length: {}", chunked.len()),
        format!("Content-Length: 5, {}", chunked.len()),
        format!("Content-Length: +{}", chunked.len()),
        format!("X: y\r\n Content-Length: {}", chunked.len()),
    ] {
        let request = format!(
            "POST /public/x HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{fields}\r\n\r\n{chunked}"
        );
        let _ = begin(&rig, &request);
    }
    for seen in rig.app.seen() {
        assert!(seen.starts_with("POST /public/x "), "{seen}");
    }
}

pub(super) fn callers_at_once_are_never_mixed_up(program: Program) {
    let rig = Rig::start(program);
    thread::scope(|scope| {
        for caller in [&rig.billing, &rig.olga, &rig.billing, &rig.olga] {
            let address = rig.address();
            scope.spawn(move || {
                for _ in 0..25 {
                    let reply = get(address, "/api", &caller.fields());
                    assert_eq!(reply.status, 200);
                    // The application responds with the request it received.
                    assert_eq!(field(&reply.body, "X-Auth-Name"), Some(&*caller.name));
                    assert_eq!(identity_like(&reply.body).len(), 3);
                    no_credential(&reply.body);
                }
            });
        }
    });
}

/// Closing the connection after each response would cost most of the throughput.
pub(super) fn auth_requests_share_connections(program: Program) {
    let rig = Rig::start(program);
    for round in 0..50 {
        let (fields, expected) = match round % 2 {
            0 => (rig.billing.fields(), 200),
            _ => (String::new(), 401),
        };
        assert_eq!(get(rig.address(), "/api", &fields).status, expected);
    }
    let connections = rig.tee.connections();
    assert!((1..=4).contains(&connections), "{connections}");
}

/// As the comments in the files describe it.
pub(super) fn front_proxy_may_restrict_access_to_a_realm(program: Program) {
    let rig = Rig::edited(program, |text| {
        let commented = ["- { key: x-realmgate-narrow", "typed_per_filter_config:"];
        let also = [
            "envoy.filters.http.ext_authz:",
            "\"@type\"",
            "check_settings:",
        ];
        let lines = text.lines().map(|line| {
            let is_meant = commented.iter().chain(&also).any(|it| line.contains(it));
            if is_meant {
                line.replace("# ", "")
            } else {
                line.to_owned()
            }
        });
        let text = lines.collect::<Vec<_>>().join("\n") + "\n";
        text.replace("/forward-auth/nginx;", "/forward-auth/nginx?realm=ops;")
            .replace(
                "/forward-auth/traefik\"",
                "/forward-auth/traefik?realm=ops\"",
            )
            .replace("/forward-auth/caddy?\n", "/forward-auth/caddy?realm=ops\n")
            .replace(
                "/forward-auth/haproxy\"",
                "/forward-auth/haproxy?realm=ops\"",
            )
            .replace("\"realm=payments\"", "\"realm=ops\"")
            .replace("{ realm: payments }", "{ realm: ops }")
    });
    for path in ["/api", "/api?realm=payments"] {
        assert_eq!(get(rig.address(), path, &rig.billing.fields()).status, 403);
    }
    let named = format!(
        "{}X-Realmgate-Narrow: realm=payments\r\n",
        rig.billing.fields()
    );
    assert_eq!(get(rig.address(), "/api", &named).status, 403);
    rig.nothing_passed();
    assert_eq!(get(rig.address(), "/api", &rig.olga.fields()).status, 200);
    rig.passed_as(&rig.olga);
}

/// Sends a request. Returns the head of the response and the stream.
fn begin(rig: &Rig, request: &str) -> (Reply, TcpStream) {
    let mut stream = TcpStream::connect(rig.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    let reply = Reply {
        status: status.unwrap_or(0),
        head,
        body: String::new(),
    };
    (reply, stream)
}

/// Returns the status.
pub(super) fn curl(args: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "20", "--output", "/dev/null"])
        .args(["--write-out", "%{http_code}"])
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("curl: {error}; run scripts/setup test"));
    stdout(&output)
}
