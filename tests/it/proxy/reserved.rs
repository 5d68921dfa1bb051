//! Client headers that an application could mistake for decisions of realmgate.

use realmgate::http::reserved::{
    FAMILIES, METHOD_OVERRIDES, SERVER_VARIABLE_FAMILIES, SERVER_VARIABLES, removed,
};

use crate::harness::frames::{self, Field, credential, request};
use crate::harness::{Caller, Gate, Upstream, field, get, raw, routes};

/// The value that a client sends in each header that must not arrive.
const PLANTED: &str = "planted";

/// Returns every listed name in several spellings, without HTTP's own framing headers.
pub(crate) fn spellings() -> Vec<String> {
    let families = SERVER_VARIABLE_FAMILIES.map(|family| format!("{family}x"));
    let variables = SERVER_VARIABLES.iter().map(|name| (*name).to_owned());
    let variables = variables.chain(families).filter(|name| name.contains('-'));
    let framing = ["transfer-encoding", "x-auth-name", "x-auth-token"].map(str::to_owned);
    let marked = variables.chain(framing).flat_map(|name| {
        [
            name.replace('-', "_"),
            name.replace('-', "_").to_ascii_uppercase(),
            name.replacen('-', "_", 1),
            name.replace('-', "."),
            name.replace('-', "~"),
        ]
    });
    let removed = removed().flat_map(|name| {
        [
            name.to_owned(),
            name.to_ascii_uppercase(),
            name.replace('-', "_"),
            name.replace('-', "|"),
        ]
    });
    let overrides = METHOD_OVERRIDES.iter().map(|name| name.replace('-', "_"));
    marked.chain(removed).chain(overrides).collect()
}

fn gate(more: &str) -> (Gate, Upstream, Caller) {
    let upstream = Upstream::start();
    let text = format!("h2c = true\n{}", routes(upstream.address)).replacen(
        "upstream = \"app\"",
        &format!("upstream = \"app\"\n{more}"),
        1,
    );
    let gate = Gate::start_with(&[("REALMGATE_LOG_FILTER", "info,realmgate=debug")], &text);
    let caller = gate.register("billing", "payments");
    (gate, upstream, caller)
}

#[track_caller]
fn nothing_planted(upstream: &Upstream, requests: usize) {
    let seen = upstream.seen();
    assert_eq!(seen.len(), requests);
    for seen in seen {
        assert!(!seen.contains(PLANTED), "{seen}");
    }
}

#[test]
fn no_spelling_of_a_reserved_header_or_variable_arrives() {
    let (gate, upstream, caller) = gate("");
    let mut requests = 0;
    for some in spellings().chunks(40) {
        let planted: String = some
            .iter()
            .map(|name| format!("{name}: {PLANTED}\r\n"))
            .collect();
        for (path, fields) in [("/public/x", String::new()), ("/x", caller.fields())] {
            let reply = get(gate.gateway, path, &format!("{fields}{planted}"));
            assert_eq!(reply.status, 200, "{planted}");
            requests += 1;
        }
    }
    nothing_planted(&upstream, requests);
    assert!(requests > 20, "{requests}");
}

#[test]
fn no_spelling_of_a_reserved_header_or_variable_arrives_over_http2() {
    let (gate, upstream, caller) = gate("");
    let token = caller.token();
    let names: Vec<String> = spellings()
        .iter()
        .map(|name| name.to_ascii_lowercase())
        .collect();
    let mut requests = 0;
    for some in names.chunks(40) {
        let planted = some.iter().map(|name| (name.as_str(), PLANTED));
        let planted: Vec<Field> = planted.collect();
        let public = request("GET", "app.example", "/public/x");
        let fields = [&public[..], &planted].concat();
        assert_eq!(frames::ask(gate.gateway, &fields, b"", &[]), Some(200));
        let proved = request("GET", "app.example", "/x");
        let fields = [&proved[..], &credential(&token), &planted].concat();
        assert_eq!(frames::ask(gate.gateway, &fields, b"", &[]), Some(200));
        requests += 2;
    }
    nothing_planted(&upstream, requests);
}

/// One name of each family beyond the listed ones.
#[test]
fn no_header_of_a_family_arrives() {
    let (gate, upstream, caller) = gate("");
    let planted = FAMILIES.map(|family| format!("{family}made-up: {PLANTED}\r\n"));
    let planted = planted.concat();
    for (path, fields) in [("/public/x", String::new()), ("/x", caller.fields())] {
        let reply = get(gate.gateway, path, &format!("{fields}{planted}"));
        assert_eq!(reply.status, 200, "{planted}");
    }
    nothing_planted(&upstream, 2);
}

#[test]
fn address_header_of_a_cdn_passes_on_the_route_that_names_it_only() {
    let (gate, upstream, caller) = gate("pass_headers = ['CF-Connecting-IP']");
    let sent = "CF-Connecting-IP: 192.0.2.7\r\nCF_Connecting_IP: 6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\n\
        Remote-User: root\r\nX-Forwarded-For: 6.6.6.6\r\n";
    assert_eq!(get(gate.gateway, "/public/x", sent).status, 200);
    let fields = format!("{sent}{}", caller.fields());
    assert_eq!(get(gate.gateway, "/x", &fields).status, 200);
    let seen = upstream.seen();
    assert_eq!(field(&seen[0], "CF-Connecting-IP"), Some("192.0.2.7"));
    assert_eq!(field(&seen[1], "CF-Connecting-IP"), None, "{}", seen[1]);
    for seen in seen {
        assert_eq!(field(&seen, "X-Forwarded-For"), Some("127.0.0.1"), "{seen}");
        assert!(
            !seen.contains("6.6.6.6") && !seen.contains("root"),
            "{seen}"
        );
    }
    // The log shows removed headers to operators.
    let log = gate.log();
    assert!(log.contains("header=cf-connecting-ip"), "{log}");
}

/// An application that was moved from another gateway keeps its header, which realmgate then sets.
#[test]
fn identity_header_of_another_gateway_has_the_identity_when_configured() {
    let upstream = Upstream::start();
    let variables = [("REALMGATE_CREDENTIALS_NAME_HEADER", "X-WebAuth-User")];
    let gate = Gate::start_with(&variables, &routes(upstream.address));
    let caller = gate.register("billing", "payments");
    let fields = caller.fields().replace("X-Auth-Name", "X-WebAuth-User");
    assert_eq!(get(gate.gateway, "/x", &fields).status, 200);
    let claimed = "X-WebAuth-User: root\r\n";
    assert_eq!(get(gate.gateway, "/public/x", claimed).status, 200);
    let seen = upstream.seen();
    assert_eq!(field(&seen[0], "X-WebAuth-User"), Some("billing"));
    assert_eq!(field(&seen[1], "X-WebAuth-User"), None, "{}", seen[1]);
}

#[test]
fn trailers_of_a_client_never_arrive() {
    let (gate, upstream, _) = gate("alias_headers = ['X_Tenant']");
    let names = ["SCRIPT_NAME", "X_Tenant", "X-Forwarded-User", "X-Plain"];
    let lines: String = names.map(|name| format!("{name}: {PLANTED}\r\n")).concat();
    let request = format!(
        "POST /public/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTE: trailers\r\nTrailer: SCRIPT_NAME\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{lines}\r\n"
    );
    assert_eq!(raw(gate.gateway, request.as_bytes()).status, 200);
    let names = names.map(str::to_ascii_lowercase);
    let trailers: Vec<Field> = names.iter().map(|name| (name.as_str(), PLANTED)).collect();
    let fields = frames::request("POST", "app.example", "/public/x");
    let status = frames::ask(gate.gateway, &fields, b"abc", &trailers);
    assert_eq!(status, Some(200));
    nothing_planted(&upstream, 2);
}

#[test]
fn header_with_a_mark_passes_on_the_route_that_names_it_only() {
    let (gate, upstream, caller) = gate("alias_headers = ['X_Tenant', 'api.key']");
    let sent =
        "x_TENANT: one\r\nX_Tenant: two\r\nApi.Key: three\r\nX_Other: four\r\nX.Tenant: five\r\n";
    assert_eq!(get(gate.gateway, "/public/x", sent).status, 200);
    let fields = format!("{sent}{}", caller.fields());
    assert_eq!(get(gate.gateway, "/x", &fields).status, 200);
    let over_http2 = [
        &request("GET", "app.example", "/public/x")[..],
        &[("x_tenant", "one"), ("x_other", "four")],
    ];
    let status = frames::ask(gate.gateway, &over_http2.concat(), b"", &[]);
    assert_eq!(status, Some(200));
    let seen = upstream.seen();
    for seen in [&seen[0], &seen[2]] {
        assert_eq!(field(seen, "X_Tenant"), Some("one"), "{seen}");
        assert_eq!(field(seen, "X_Other"), None, "{seen}");
        assert_eq!(field(seen, "X.Tenant"), None, "{seen}");
    }
    assert_eq!(field(&seen[0], "api.key"), Some("three"));
    assert!(seen[0].contains("x_tenant: two"), "{}", seen[0]);
    for name in ["X_Tenant", "api.key"] {
        assert_eq!(field(&seen[1], name), None, "{}", seen[1]);
    }
    // The log shows removed headers to operators.
    let log = gate.log();
    for name in ["x_other", "x.tenant", "api.key"] {
        assert!(log.contains(&format!("header={name}")), "{name}: {log}");
    }
}
