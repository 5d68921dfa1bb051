//! Routes that change requests and responses.

use std::net::SocketAddr;
use std::process::Command;

use crate::harness::certificate::Ca;
use crate::harness::nginx::Nginx;
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
fn response_headers_are_removed() {
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

/// Requests a URL with curl, which trusts only this CA. Returns the header and the body.
fn curl(ca: &Ca, at: SocketAddr, scheme: &str, path: &str, args: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "20"])
        .args(["--cacert", &ca.file()])
        .args([
            "--resolve",
            &format!("app.example:{}:{}", at.port(), at.ip()),
        ])
        .args(args)
        .arg(format!("{scheme}://app.example:{}{path}", at.port()))
        .output()
        .unwrap_or_else(|error| panic!("curl: {error}; run scripts/setup test"));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().to_lowercase()
}

/// The real curl and the real nginx, each over HTTP/1.1 and HTTP/2, with and without TLS.
#[test]
fn every_rewriting_key_works_between_all_versions_with_and_without_tls() {
    let ca = Ca::new();
    let (cert, key) = ca.issue("server", "/CN=server", "DNS:app.example,DNS:app.internal");
    let content = "add_header X-Powered-By nginx; add_header X-Frame-Options none; \
        add_header CDN-Cache-Control public; add_header Cache-Control 'public, max-age=60'; location / { return 200 \
        '$server_protocol $scheme $request_uri host=$http_host edge=$http_x_edge debug=$http_x_debug \
        client=$http_cf_connecting_ip other=$http_true_client_ip prefix=$http_x_forwarded_prefix \
        original=$http_x_forwarded_proto://$http_x_forwarded_host name=$http_x_auth_name token=$http_x_auth_token'; }";
    let tls = format!("ssl_certificate {cert}; ssl_certificate_key {key};");
    let servers = [
        ("1.1", Nginx::serve(&format!("listen ADDRESS; {content}"))),
        (
            "2",
            Nginx::serve(&format!("listen ADDRESS http2; {content}")),
        ),
        (
            "1.1",
            Nginx::serve(&format!("listen ADDRESS ssl; {tls} {content}")),
        ),
        (
            "2",
            Nginx::serve(&format!("listen ADDRESS ssl http2; {tls} {content}")),
        ),
        (
            "auto",
            Nginx::serve(&format!("listen ADDRESS ssl http2; {tls} {content}")),
        ),
        (
            "auto",
            Nginx::serve(&format!("listen ADDRESS ssl; {tls} {content}")),
        ),
    ];
    let mut rules = String::new();
    for (at, (http, server)) in servers.iter().enumerate() {
        let peer = match at {
            0 | 1 => String::new(),
            _ => format!(
                "tls = true\nserver_name = 'app.internal'\nca = '{}'\n",
                ca.file()
            ),
        };
        rules += &format!(
            "[[route]]\nname = 'r{at}'\npath = '/api/{at}'\nallow = 'authenticated'\nupstream = 'u{at}'\n\
             strip_prefix = true\nupstream_host = 'app.internal:8443'\npass_headers = ['CF-Connecting-IP']\n\
             request_headers = {{ set = {{ X-Edge = 'eu' }}, remove = ['X-Debug'] }}\n\
             response_headers = {{ set = {{ X-Frame-Options = 'DENY' }}, remove = ['X-Powered-By'] }}\n\
             [upstream.u{at}]\npeers = ['{}']\nhttp = '{http}'\n{peer}",
            server.address
        );
    }
    let secure = format!("tls = true\n[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n{rules}");
    for (scheme, config) in [("http", format!("h2c = true\n{rules}")), ("https", secure)] {
        let gate = Gate::start(&config);
        let caller = gate.register("billing", "payments");
        for version in ["--http1.1", "--http2"] {
            let version = match (scheme, version) {
                ("http", "--http2") => "--http2-prior-knowledge",
                (_, version) => version,
            };
            for (at, (http, _)) in servers.iter().enumerate() {
                let fields = caller.fields();
                let sent = [
                    "X-Edge: us",
                    "X-Debug: 1",
                    "CF-Connecting-IP: 192.0.2.7",
                    "True-Client-IP: 192.0.2.8",
                ];
                let fields: Vec<&str> = fields
                    .lines()
                    .chain(sent)
                    .flat_map(|it| ["-H", it])
                    .collect();
                let args = [&[version][..], &fields].concat();
                let path = format!("/api/{at}/x?q=/y");
                let answer = curl(&ca, gate.gateway, scheme, &path, &args);
                let case = format!("{scheme} {version} to {at}: {answer}\n{}", gate.log());
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                let one = if version == "--http1.1" {
                    "http/1.1 200"
                } else {
                    "http/2 200"
                };
                assert!(head.starts_with(one), "{case}");
                let spoken = if *http == "2" || at == 4 {
                    "http/2.0"
                } else {
                    "http/1.1"
                };
                let outer = if at < 2 { "http" } else { "https" };
                let port = gate.gateway.port();
                assert_eq!(
                    body,
                    format!(
                        "{spoken} {outer} /x?q=/y host=app.internal:8443 edge=eu debug= client=192.0.2.7 other= \
                         prefix=/api/{at} original={scheme}://app.example:{port} name=billing token="
                    ),
                    "{case}"
                );
                assert_eq!(head.matches("x-frame-options: deny").count(), 1, "{case}");
                assert!(!head.contains("x-powered-by"), "{case}");
                assert!(!head.contains("cdn-cache-control"), "{case}");
                assert!(
                    head.contains("cache-control: max-age=60, private"),
                    "{case}"
                );
            }
        }
    }
}
