//! Figures for Prometheus.

use crate::harness::{Gate, Upstream, get, routes, send};

fn figure(gate: &Gate, name: &str) -> Option<u64> {
    let reply = get(gate.service, "/metrics", "");
    assert_eq!(reply.status, 200);
    let mut lines = reply.body.lines();
    lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn decisions_are_counted_by_door_and_reason() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let caller = gate.register("billing", "payments");
    let wrong = caller.fields_with(&caller.wrong_token());
    for fields in [&caller.fields(), &wrong, &wrong, ""] {
        get(gate.gateway, "/x", fields);
        get(gate.service, "/forward-auth", fields);
        get(gate.service, "/ungleichotp/", fields);
    }
    for (door, outcome, expected) in [
        ("proxy", "permitted", 1),
        ("proxy", "wrong_token", 2),
        ("proxy", "no_credential", 1),
        ("forward-auth", "permitted", 1),
        ("forward-auth", "wrong_token", 2),
        ("rest", "not_allowed", 1),
        ("rest", "wrong_token", 2),
    ] {
        let name = format!("realmgate_decisions_total{{door=\"{door}\",outcome=\"{outcome}\"}}");
        assert_eq!(figure(&gate, &name), Some(expected), "{name}");
    }
}

#[test]
fn no_name_realm_or_token_is_in_them_and_the_gateway_does_not_show_them() {
    let upstream = Upstream::start();
    let gate = Gate::start_with(
        &[("REALMGATE_GATEWAY_SERVE_API", "true")],
        &routes(upstream.address),
    );
    let caller = gate.register("canary-name", "canary-realm");
    let token = caller.token();
    get(gate.gateway, "/x", &caller.fields());
    let reply = get(gate.service, "/metrics", "");
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(reply.field("Content-Type"), Some(expected));
    assert!(reply.body.ends_with("# EOF\n"), "{}", reply.body);
    assert!(!reply.body.contains("canary"), "{}", reply.body);
    assert!(!reply.body.contains(&format!("\"{token}\"")));
    assert_eq!(get(gate.gateway, "/metrics", "").status, 401);
    assert_eq!(send(gate.service, "POST", "/metrics", "", "").status, 405);
    assert_eq!(figure(&gate, "realmgate_connections"), Some(1));
}

#[test]
fn upstreams_show_their_peers_and_what_failed() {
    let dead = crate::port::Port::reserve();
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        "[[route]]\nname = \"all\"\nallow = \"anyone\"\nupstream = \"app\"\n[upstream.app]\n\
         peers = [\"{}\", \"{}\"]\neject_failures = 1\neject_time = \"1h\"\n",
        upstream.address, dead.address,
    ));
    for _ in 0..4 {
        assert_eq!(get(gate.gateway, "/", "").status, 200);
    }
    for (name, expected) in [
        ("upstream_requests_in_flight{upstream=\"app\"}", 0),
        ("upstream_peers{upstream=\"app\",state=\"healthy\"}", 1),
        ("upstream_peers{upstream=\"app\",state=\"unhealthy\"}", 0),
        ("upstream_peers{upstream=\"app\",state=\"ejected\"}", 1),
        ("upstream_connect_failures_total{upstream=\"app\"}", 1),
        ("upstream_retries_total{upstream=\"app\"}", 1),
        ("upstream_ejections_total{upstream=\"app\"}", 1),
    ] {
        assert_eq!(
            figure(&gate, &format!("realmgate_{name}")),
            Some(expected),
            "{name}"
        );
    }
}
