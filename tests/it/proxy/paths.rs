//! Paths that servers read differently, at every door: no decision uses a weaker route than the one
//! that some server would find.

use std::process::Command;

use crate::authentication::oracle::{check, check_request};
use crate::harness::{Gate, Upstream, get, raw, stdout};

/// `/admin` is for an empty realm; everything else, with any slashes, is public.
fn gate(more: &str) -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        r#"
        h2c = true
        [grpc]
        listen = "127.0.0.1:0"
        [[route]]
        name = "admin"
        path = "/admin"
        allow = [{{ realm = "ops" }}]
        upstream = "app"
        allow_encoded_slash = true
        {more}
        [[route]]
        name = "web"
        allow = "anyone"
        upstream = "app"
        allow_double_slash = true
        allow_encoded_slash = true
        [upstream.app]
        peers = ["{}"]
        "#,
        upstream.address
    ));
    (gate, upstream)
}

/// Requests a path of a host at every door without a credential. Returns the status of each door,
/// translated to that of the proxy.
pub(super) fn ask(gate: &Gate, host: &str, path: &str) -> Vec<(&'static str, u16)> {
    let original = format!("X-Original-Method: GET\r\nX-Original-URL: http://{host}{path}\r\n");
    let forwarded = format!(
        "X-Forwarded-Method: GET\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {path}\r\n"
    );
    let url = format!("http://{}{path}", gate.gateway);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let http2 = Command::new("curl")
        .args(["-H", &format!("Host: {host}")])
        .args([
            "-sS",
            "--http2-prior-knowledge",
            "--path-as-is",
            "-o",
            "/dev/null",
        ])
        .args(["-w", "%{http_code}", &url])
        .output()
        .unwrap();
    let mut statuses = vec![
        ("proxy", raw(gate.gateway, request.as_bytes()).status),
        ("proxy, HTTP/2", stdout(&http2).parse().unwrap()),
    ];
    for (door, target, fields) in [
        ("nginx", "/forward-auth/nginx".to_owned(), &*original),
        ("traefik", "/forward-auth/traefik".to_owned(), &*forwarded),
        ("caddy", "/forward-auth/caddy".to_owned(), &*forwarded),
        ("haproxy", "/forward-auth/haproxy".to_owned(), &*forwarded),
    ] {
        statuses.push((door, get(gate.service, &target, fields).status));
    }
    let request = format!(
        "GET /forward-auth/envoy{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    statuses.push(("envoy", raw(gate.service, request.as_bytes()).status));
    let mut asked = check_request("", "", "");
    let attributes = asked.attributes.as_mut().unwrap();
    let request = attributes.request.as_mut().unwrap();
    let http = request.http.as_mut().unwrap();
    http.host = host.into();
    http.path = path.into();
    http.headers.clear();
    let code = check(gate, &asked).status.unwrap().code;
    // OK, PERMISSION_DENIED, UNAUTHENTICATED.
    let status = match code {
        0 => 200,
        7 => 403,
        16 => 401,
        other => panic!("{path}: {other}"),
    };
    statuses.push(("envoy, gRPC", status));
    // A sub-request that cannot be decided is a 403.
    let as_proxy = |(door, status)| match (door, status) {
        ("proxy" | "proxy, HTTP/2", status) => (door, status),
        (_, 403) => (door, 400),
        _ => (door, status),
    };
    statuses.into_iter().map(as_proxy).collect()
}

fn assert_all(gate: &Gate, path: &str, expected: u16) {
    for (door, status) in ask(gate, "a", path) {
        assert_eq!(status, expected, "{path} at {door}");
    }
}

/// These reach `/admin`, or another protected path, at a known server.
const REFUSED: [&str; 58] = [
    // Parameters are dropped and slashes merged.
    "/;/admin",
    "/;x/admin",
    "/x/;/admin",
    "/x/;y/admin",
    "/%3b/admin",
    "/%3Bx/admin",
    "/%253b/admin",
    "//;/admin",
    "/;",
    "/admin;",
    "/admin;x=1/y",
    "/admin%3bx",
    "/admin%253bx",
    "/x;%2fadmin",
    // Slashes that a server merges or decodes.
    "//admin/x",
    "///admin",
    "/admin%2fx",
    "/%2fadmin/x",
    "//x/admin",
    "/%2fx/admin",
    "/%252fadmin",
    "/admin%252fx",
    "/%25252fadmin",
    // Dot segments at any depth of encoding.
    "/x/%252e%252e/admin",
    "/x/.%252e/admin",
    "/x/..%252fadmin",
    "/x/%2e%2e/admin",
    "/x/..;/admin",
    "/x/..%3b/admin",
    "/x/..%20/admin",
    // Backslashes and control characters.
    "/x/..%5cadmin",
    "/x/..%255cadmin",
    "/%5cadmin",
    "/admin%00",
    "/admin%2500",
    "/admin%250a",
    // Other encodings.
    "/x/%c0%ae%c0%ae/admin",
    "/%c0%afadmin",
    "/x/%25c0%25ae/admin",
    "/x/%u002e%u002e/admin",
    "/x/%25u002e%25u002e/admin",
    "/x/%ef%bc%8e%ef%bc%8e/admin",
    "/%ef%bc%8fadmin",
    "/%ef%bd%81dmin",
    "/a%e2%80%8bdmin",
    "/%61dmin",
    "/%2561dmin",
    "/caf%e9",
    // Characters that Windows drops.
    "/admin.",
    "/admin..",
    "/admin./x",
    "/admin%20",
    "/admin%20.",
    "/admin%c2%a0/x",
    "/x:$i30:$INDEX_ALLOCATION/y",
    // A query or fragment in a decoded path.
    "/admin%3fx",
    "/admin%23x",
    "/admin%253fx",
];

#[test]
fn path_that_some_server_finds_another_route_for_is_rejected_at_every_door() {
    let (gate, upstream) = gate("");
    for path in REFUSED {
        assert_all(&gate, path, 400);
    }
    assert_eq!(upstream.seen(), [""; 0]);
}

#[test]
fn path_that_every_server_finds_the_same_route_for_passes_at_every_door() {
    let (gate, upstream) = gate("");
    let passing = [
        "/x;y=1/z",
        "/x/admin",
        "/x%20y/caf%C3%A9",
        "/x//y",
        "/x%2fy",
        "/x%252fy",
        "/100%25",
        "/x.json/...",
        "/~x/a:b@c,d",
        "/admins",
    ];
    for path in passing {
        assert_all(&gate, path, 200);
    }
    // Unchanged.
    let lines = passing.map(|path| format!("GET {path} HTTP/1.1"));
    let seen = upstream.seen();
    let mut seen: Vec<_> = seen.iter().map(|it| it.lines().next().unwrap()).collect();
    // Once per HTTP version.
    assert_eq!(seen.len(), 2 * lines.len());
    seen.dedup();
    assert_eq!(seen, lines);
    for path in [
        "/admin",
        "/admin/",
        "/admin/x;y",
        "/admin/caf%C3%A9",
        "/admin/x%2Fy",
    ] {
        assert_all(&gate, path, 401);
    }
}

#[test]
fn route_that_ignores_case_or_suffixes_holds_every_spelling_at_every_door() {
    let (gate, upstream) = gate("ignore_case = true\nignore_suffix = true");
    for path in [
        "/admin",
        "/ADMIN",
        "/Admin/",
        "/aDmIn/x",
        "/admin.json",
        "/ADMIN.x/",
        "/admin.tar.gz/x",
        "/admin./x",
    ] {
        assert_all(&gate, path, 401);
    }
    for path in [
        "/ADMIN;x",
        "/%41dmin",
        "/x/;/ADMIN",
        "//Admin",
        "/adm%c4%b1n",
        "/adm%c4%b0n",
        "/ADMIN%2ejson",
    ] {
        assert_all(&gate, path, 400);
    }
    for path in ["/administrator", "/x.admin", "/X/Admin.json"] {
        assert_all(&gate, path, 200);
    }
    assert_eq!(upstream.seen().len(), 2 * 3);
}

#[test]
fn wrong_spelling_is_another_route_where_nothing_is_ignored() {
    let (gate, _upstream) = gate("");
    for path in ["/ADMIN", "/admin.json"] {
        assert_all(&gate, path, 200);
    }
}
