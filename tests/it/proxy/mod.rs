//! The transparent proxy.

mod broken;
mod caching;
mod denials;
mod early;
mod examples;
mod frameworks;
mod grpc;
mod headers;
mod health;
mod http;
mod http1;
mod http2;
mod identity_names;
mod matching;
mod names;
mod paths;
mod rejected;
pub(crate) mod reserved;
mod rewrite;
mod servers;
mod silence;
mod streaming;
mod target;
mod tenure;
mod upstream;
mod web_socket;
mod windows;

use std::time::Duration;

use crate::harness::port::Port;
use crate::harness::{Gate, Upstream, field, get, routes, send, until};

fn gate() -> (Gate, Upstream) {
    let upstream = Upstream::start();
    (Gate::start(&routes(upstream.address)), upstream)
}

#[test]
fn valid_headers_pass_with_identity_set_and_token_removed() {
    let (gate, upstream) = gate();
    let caller = gate.register("billing", "payments");
    let reply = get(gate.gateway, "/api?q=1", &caller.fields());
    assert_eq!(reply.status, 200);
    let seen = upstream.seen().remove(0);
    assert!(seen.starts_with("GET /api?q=1 HTTP/1.1\r\n"), "{seen}");
    for (name, expected) in [
        ("X-Auth-Name", Some("billing")),
        ("X-Auth-Realm", Some("payments")),
        ("X-Forwarded-User", Some("billing@payments")),
        ("X-Forwarded-For", Some("127.0.0.1")),
        ("X-Forwarded-Proto", Some("http")),
        ("X-Forwarded-Host", Some("app.example")),
        ("Host", Some("app.example")),
        ("X-Auth-Token", None),
        ("Authorization", None),
    ] {
        assert_eq!(field(&seen, name), expected, "{name} in {seen}");
    }
    assert_eq!(field(&seen, "X-Request-Id").unwrap().len(), 32);
}

#[test]
fn each_denial_has_its_exact_response_and_reaches_no_upstream() {
    let (gate, upstream) = gate();
    let caller = gate.register("billing", "payments");
    let token = caller.token();
    let good = caller.fields();
    let basic = |value: &str| format!("Authorization: Basic {value}\r\n");
    let unauthorized = [
        String::new(),
        caller.fields_with(&caller.wrong_token()),
        caller.fields_with(""),
        caller.fields_with(&format!("{token}0")),
        good.replace("billing", "nobody"),
        good.replace("payments", "Payments"),
        good.replace("X-Auth-Name: billing\r\n", ""),
        good.replace("billing", &"x".repeat(129)),
        format!("{good}X-Auth-Token: {token}\r\n"),
        format!("{good}x-auth-name: billing\r\n"),
        format!("{good}{}", basic("YTpi")),
        basic("!not base64!"),
        basic(""),
    ];
    for fields in &unauthorized {
        let reply = get(gate.gateway, "/api", fields);
        assert_eq!(reply.status, 401, "{fields}");
        assert_eq!(reply.body, "authentication required\n");
        assert_eq!(
            reply.field("WWW-Authenticate"),
            Some("Basic realm=\"realmgate\", charset=\"UTF-8\"")
        );
    }
    let reply = get(gate.gateway, "/ops/x", &good);
    assert_eq!((reply.status, &*reply.body), (403, "not allowed here\n"));
    assert_eq!(upstream.seen(), [""; 0]);
}

#[test]
fn unknown_principal_and_wrong_token_get_the_same_response() {
    let (gate, _upstream) = gate();
    let caller = gate.register("billing", "payments");
    let disabled = gate.register("gone", "payments");
    gate.run(&[
        "identity", "disable", "--name", "gone", "--realm", "payments",
    ]);
    let strip_date = |head: &str| {
        let lines = head
            .lines()
            .filter(|line| !line.to_lowercase().starts_with("date:"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let answers: Vec<_> = [
        caller.fields_with(&caller.wrong_token()),
        caller.fields().replace("billing", "nobody"),
        disabled.fields(),
    ]
    .iter()
    .map(|fields| {
        let reply = get(gate.gateway, "/api", fields);
        // Each request has another id.
        let id = reply.field("X-Request-Id").unwrap();
        (strip_date(&reply.head).replace(id, "id"), reply.body)
    })
    .collect();
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}

#[test]
fn rule_with_a_name_admits_that_name() {
    let (gate, _upstream) = gate();
    let alice = gate.register("alice", "dev");
    let bob = gate.register("bob", "dev");
    assert_eq!(get(gate.gateway, "/ops", &alice.fields()).status, 200);
    assert_eq!(get(gate.gateway, "/ops", &bob.fields()).status, 403);
}

#[test]
fn body_reaches_the_upstream_whole() {
    let (gate, upstream) = gate();
    let caller = gate.register("billing", "payments");
    let body = "x".repeat(1_000_000);
    let reply = send(gate.gateway, "POST", "/upload", &caller.fields(), &body);
    assert_eq!(reply.status, 200);
    assert!(upstream.seen()[0].ends_with(&body));
}

#[test]
fn no_route_is_404_and_dead_upstream_502_and_slow_one_504() {
    let port = Port::reserve();
    let dead = port.address;
    let slow = Upstream::start_slow(Duration::from_secs(10));
    let gate = Gate::start(&format!(
        r#"
        [[route]]
        name = "dead"
        path = "/dead"
        allow = "anyone"
        upstream = "dead"
        [[route]]
        name = "slow"
        path = "/slow"
        allow = "anyone"
        upstream = "slow"
        [upstream.dead]
        peers = ["{dead}"]
        [upstream.slow]
        peers = ["{}"]
        read_timeout = "300ms"
        "#,
        slow.address
    ));
    let reply = get(gate.gateway, "/else", "");
    assert_eq!((reply.status, &*reply.body), (404, "no route\n"));
    let reply = get(gate.gateway, "/dead", "");
    assert_eq!(
        (reply.status, &*reply.body),
        (502, "upstream unavailable\n")
    );
    assert_eq!(reply.field("X-Request-Id").unwrap().len(), 32);
    let reply = get(gate.gateway, "/slow", "");
    assert_eq!((reply.status, &*reply.body), (504, "upstream timed out\n"));
    let id = reply.field("X-Request-Id").unwrap();
    until("the request is logged", || gate.log().contains(id));
}

#[test]
fn dead_peer_is_passed_over() {
    let port = Port::reserve();
    let dead = port.address;
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        r#"
        [[route]]
        name = "all"
        allow = "anyone"
        upstream = "app"
        [upstream.app]
        peers = ["{dead}", "{}"]
        "#,
        upstream.address
    ));
    for _ in 0..10 {
        assert_eq!(send(gate.gateway, "POST", "/", "", "body").status, 200);
    }
    assert_eq!(upstream.seen().len(), 10);
}

#[test]
fn one_port_is_enough_with_serve_api_and_not_without() {
    let upstream = Upstream::start();
    let gate = Gate::start_with(
        &[("REALMGATE_GATEWAY_SERVE_API", "true")],
        &routes(upstream.address),
    );
    let caller = gate.register("billing", "payments");
    let reply = get(gate.gateway, "/forward-auth", &caller.fields());
    assert_eq!(
        (reply.status, reply.field("X-Auth-Name")),
        (200, Some("billing"))
    );
    assert_eq!(get(gate.gateway, "/ungleichotp/verify/", "").status, 403);
    assert_eq!(get(gate.gateway, "/ungleichotpx", "").status, 401);
    let (gate, _upstream) = self::gate();
    assert_eq!(get(gate.gateway, "/ungleichotp/verify/", "").status, 401);
}

#[test]
fn log_names_the_reason_and_holds_no_secret() {
    let (gate, _upstream) = gate();
    let caller = gate.register("billing", "payments");
    let wrong = caller.wrong_token();
    get(gate.gateway, "/api", &caller.fields_with(&wrong));
    get(
        gate.gateway,
        "/api",
        &format!("{}bad header\r\n", caller.fields()),
    );
    let log = gate.log();
    assert!(
        log.contains("wrong_token") && log.contains("billing"),
        "{log}"
    );
    assert!(
        !log.contains(&caller.seed) && !log.contains(&wrong),
        "{log}"
    );
    assert!(!log.contains(&caller.token()), "{log}");
}
