//! The list of headers that clients must not send to an application, tested with each front proxy.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use realmgate::http::reserved::{FAMILIES, METHOD_OVERRIDES, removed};

use super::{Program, Rig};
use crate::harness::frames::{self, Field, request};
use crate::harness::{Reply, field, get, raw};
use crate::proxy::reserved::spellings;

/// The value that a client sends in each header that must not arrive.
const PLANTED: &str = "planted";

/// Returns every listed name, and the spellings that application servers read as variables.
fn names(program: Program) -> Vec<String> {
    let listed = removed().chain(METHOD_OVERRIDES).map(str::to_owned);
    let families = FAMILIES.iter().filter(|_| program.removes_families());
    let families = families.map(|family| format!("{family}made-up"));
    // HAProxy and the programs behind it reject a `|` in names; Envoy rejects a `_`.
    let marked = spellings().into_iter().filter(|name| {
        let is_refused = name.contains('|') || (program.is_envoy() && name.contains('_'));
        name.contains(['_', '.', '~']) && !is_refused
    });
    listed.chain(families).chain(marked).collect()
}

#[track_caller]
fn nothing_planted(rig: &Rig, requests: usize) {
    let seen = rig.app.seen();
    assert_eq!(seen.len(), requests);
    for seen in seen {
        let lines: Vec<&str> = seen.lines().filter(|it| it.contains(PLANTED)).collect();
        assert!(lines.is_empty(), "{lines:?}");
    }
}

pub(super) fn no_reserved_header_of_a_client_arrives(program: Program) {
    let rig = Rig::start(program);
    let mut requests = 0;
    for some in names(program).chunks(25) {
        let planted = some.iter().map(|name| format!("{name}: {PLANTED}\r\n"));
        let planted: String = planted.collect();
        for (path, fields) in [("/public/x", String::new()), ("/api", rig.billing.fields())] {
            let reply = get(rig.address(), path, &format!("{fields}{planted}"));
            assert_eq!(reply.status, 200, "{planted}{reply:?}");
            requests += 1;
        }
    }
    nothing_planted(&rig, requests);
    assert!(requests > 10, "{requests}");
}

pub(super) fn no_reserved_header_of_a_client_arrives_over_http2(program: Program) {
    let rig = Rig::with_http2(program);
    let mut requests = 0;
    let names = removed().chain(METHOD_OVERRIDES);
    let names: Vec<Field> = names.map(|name| (name, PLANTED)).collect();
    for some in names.chunks(25) {
        let base = request("GET", "app.example", "/public/x");
        let fields = [&base[..], some].concat();
        frames::ask(rig.http2_address(), &fields, b"", &[]);
        requests += 1;
    }
    nothing_planted(&rig, requests);
}

/// Some of the removed headers are set again, with the true value.
pub(super) fn headers_that_the_front_proxy_sets_are_true(program: Program) {
    let rig = Rig::start(program);
    let planted = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: admin.example\r\n\
        X-Forwarded-Port: 1\r\nX-Real-IP: 6.6.6.6\r\nX-Request-Id: planted-00000001\r\n";
    let good = rig.billing.fields();
    // Applications build their own URLs from the host with its port.
    let request = format!(
        "GET /api HTTP/1.1\r\nHost: app.example:8443\r\nConnection: close\r\n{planted}{good}\r\n"
    );
    assert_eq!(raw(rig.address(), request.as_bytes()).status, 200);
    let seen = rig.passed_as(&rig.billing);
    assert_eq!(field(&seen, "X-Forwarded-For"), Some("127.0.0.1"), "{seen}");
    assert_eq!(field(&seen, "X-Forwarded-Proto"), Some("http"), "{seen}");
    let host = field(&seen, "X-Forwarded-Host");
    assert_eq!(host, Some("app.example:8443"), "{seen}");
    for said in ["6.6.6.6", "admin.example", "planted"] {
        assert!(!seen.contains(said), "{seen}");
    }
}

/// Traefik cannot distinguish these responses: its file shows how to mark all responses.
pub(super) fn response_to_an_authenticated_request_is_kept_out_of_shared_caches(program: Program) {
    let rig = Rig::edited(program, |text| {
        text.replace("# customResponseHeaders", "customResponseHeaders")
    });
    let answered = "X-Answer: Cache-Control: public, max-age=60\r\n";
    let reply = get(
        rig.address(),
        "/api",
        &format!("{answered}{}", rig.billing.fields()),
    );
    assert_eq!(reply.status, 200);
    assert!(is_private(&reply), "{reply:?}");
    for answered in ["", "X-Answer: Cache-Control: no-store\r\n"] {
        let fields = format!("{answered}{}", rig.billing.fields());
        let reply = get(rig.address(), "/api", &fields);
        assert!(is_private(&reply), "{reply:?}");
        let is_kept = reply.head.contains("no-store") || program == Program::Traefik;
        assert!(answered.is_empty() || is_kept, "{reply:?}");
    }
    let reply = get(rig.address(), "/public/x", answered);
    assert_eq!(reply.status, 200);
    assert_eq!(is_private(&reply), program == Program::Traefik, "{reply:?}");
}

/// nginx and Traefik cannot distinguish these responses, as docs/forward-auth.md says.
pub(super) fn cache_specific_header_is_removed_from_an_authenticated_response(program: Program) {
    let rig = Rig::start(program);
    let names = [
        "CDN-Cache-Control",
        "Cloudflare-CDN-Cache-Control",
        "Edge-Control",
        "Surrogate-Control",
        "X-Accel-Expires",
        "X-Cache-TTL",
        "X-Varnish-TTL",
    ];
    let answered = names.map(|name| format!("X-Answer: {name}: max-age=60\r\n"));
    let answered = answered.concat();
    let fields = format!("{answered}{}", rig.billing.fields());
    let reply = get(rig.address(), "/api", &fields);
    let public = get(rig.address(), "/public/x", &answered);
    assert_eq!((reply.status, public.status), (200, 200));
    for name in names {
        // nginx consumes this header.
        let is_kept = program != Program::Nginx || name != "X-Accel-Expires";
        assert_eq!(public.field(name).is_some(), is_kept, "{name}: {public:?}");
        let is_passed = is_kept && !program.removes_families();
        assert_eq!(reply.field(name).is_some(), is_passed, "{name}: {reply:?}");
    }
}

/// nginx looks up its cache after the auth request; a cached response would go to anybody who may
/// pass.
#[test]
fn cache_of_nginx_keeps_no_authenticated_response() {
    let rig = Rig::edited(Program::Nginx, |text| {
        let cached = "proxy_cache all; proxy_pass http://app;";
        text.replacen(
            "http {",
            "http { proxy_cache_path cache keys_zone=all:1m;",
            1,
        )
        .replacen("proxy_pass http://app;", cached, 1)
    });
    let answered = "X-Answer: Cache-Control: max-age=60\r\n";
    for caller in [&rig.billing, &rig.olga, &rig.billing] {
        let fields = format!("{answered}{}", caller.fields());
        let reply = get(rig.address(), "/api", &fields);
        // The application responds with the request it received.
        assert_eq!(field(&reply.body, "X-Auth-Name"), Some(&*caller.name));
    }
    assert_eq!(rig.app.seen().len(), 3);
    for _ in 0..2 {
        assert_eq!(get(rig.address(), "/public/x", answered).status, 200);
    }
    assert_eq!(rig.app.seen().len(), 4);
}

/// Returns whether a `Cache-Control` directive is `private`.
fn is_private(reply: &Reply) -> bool {
    let lines = reply.head.lines().filter_map(|line| line.split_once(':'));
    let values = lines.filter(|(name, _)| name.eq_ignore_ascii_case("cache-control"));
    let mut directives = values.flat_map(|(_, value)| value.split(','));
    directives.any(|directive| directive.trim() == "private")
}

/// Files that no test can run contain the list too.
#[test]
fn every_file_names_every_header_of_the_list() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for (file, is_by_family) in [
        ("nginx/realmgate.conf", false),
        ("caddy/Caddyfile", true),
        ("haproxy/haproxy.cfg", true),
        ("traefik/dynamic.yml", false),
        ("envoy/http.yaml", true),
        ("envoy/grpc.yaml", true),
        ("kubernetes/traefik.yaml", false),
        ("kubernetes/ingress-nginx.yaml", false),
    ] {
        let text = fs::read_to_string(deploy.join(file)).unwrap();
        let lines = text.lines().map(str::trim_start);
        let lines = lines.filter(|line| !line.starts_with('#'));
        let text = lines.collect::<Vec<_>>().join("\n").to_ascii_lowercase();
        let words: HashSet<&str> = text
            .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
            .map(|word| word.trim_start_matches('-'))
            .collect();
        for name in removed().chain(METHOD_OVERRIDES) {
            let is_of_family = FAMILIES.iter().any(|family| name.starts_with(family));
            // Traefik and the ingress-nginx controller replace these themselves.
            let of_traefik = [
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-port",
                "x-forwarded-proto",
                "x-forwarded-server",
                "x-real-ip",
            ];
            let of_ingress = ["proxy", "x-forwarded-scheme", "x-request-id", "x-scheme"];
            let is_own = (file.contains("traefik") && of_traefik.contains(&name))
                || (file.contains("ingress")
                    && [&of_traefik[..], &of_ingress].concat().contains(&name));
            let is_named = words.contains(name) || (is_by_family && is_of_family);
            assert!(is_named || is_own, "{name} is not in {file}");
        }
        for family in FAMILIES.iter().filter(|_| is_by_family) {
            let family = family.trim_end_matches('-');
            let is_named = words.iter().any(|it| it.trim_end_matches('-') == family);
            assert!(is_named, "{family} is not in {file}");
        }
    }
}
