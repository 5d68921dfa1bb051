//! Metrics for Prometheus.

use std::io::Read;

use crate::harness::{
    Gate, PATIENCE, Upstream, configuration, get, realmgate, routes, send, stderr, until,
};

fn metric(gate: &Gate, name: &str) -> Option<u64> {
    let reply = get(gate.metrics(), "/metrics", "");
    assert_eq!(reply.status, 200);
    let mut lines = reply.body.lines();
    lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn decisions_are_counted_by_door_route_realm_and_reason() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let caller = gate.register("billing", "payments");
    let wrong = caller.fields_with(&caller.wrong_token());
    for fields in [&caller.fields(), &wrong, &wrong, ""] {
        get(gate.gateway, "/x", fields);
        get(gate.service, "/forward-auth", fields);
        get(gate.service, "/ungleichotp/", fields);
    }
    for (door, route, realm, outcome, expected) in [
        ("proxy", "all", "payments", "permitted", 1),
        ("proxy", "all", "payments", "wrong_token", 2),
        ("proxy", "all", "-", "no_credential", 1),
        ("forward-auth", "-", "payments", "permitted", 1),
        ("forward-auth", "-", "payments", "wrong_token", 2),
        ("rest", "-", "payments", "not_allowed", 1),
        ("rest", "-", "payments", "wrong_token", 2),
    ] {
        let name = format!(
            "realmgate_decisions_total{{door=\"{door}\",route=\"{route}\",realm=\"{realm}\",\
             outcome=\"{outcome}\"}}"
        );
        assert_eq!(metric(&gate, &name), Some(expected), "{name}");
    }
}

#[test]
fn auth_request_counts_for_its_route() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let caller = gate.register("alice", "dev");
    let description = "X-Original-Method: GET\r\nX-Original-URL: http://a";
    for path in ["/ops/x", "/public/x", "/a/../b"] {
        let fields = format!("{}{description}{path}\r\n", caller.fields());
        get(gate.service, "/forward-auth/nginx", &fields);
    }
    let of = |labels: &str| {
        metric(
            &gate,
            &format!("realmgate_decisions_total{{door=\"forward-auth\",{labels}}}"),
        )
    };
    let dev = "route=\"ops\",realm=\"dev\",outcome=\"permitted\"";
    assert_eq!(of(dev), Some(1));
    let anyone = "route=\"public\",realm=\"-\",outcome=\"permitted\"";
    assert_eq!(of(anyone), Some(1));
    let refused = "route=\"-\",realm=\"-\",outcome=\"refused\"";
    assert_eq!(of(refused), Some(1));
}

#[test]
fn no_name_token_or_invented_realm_is_in_them_and_the_gateway_does_not_show_them() {
    let upstream = Upstream::start();
    let gate = Gate::start_with(
        &[("REALMGATE_GATEWAY_SERVE_API", "true")],
        &routes(upstream.address),
    );
    let caller = gate.register("canary-name", "realm");
    let token = caller.token();
    get(gate.gateway, "/x", &caller.fields());
    let mut invented = caller.clone();
    invented.realm = "canary-realm".to_owned();
    get(gate.gateway, "/canary-path", &invented.fields());
    let reply = get(gate.metrics(), "/metrics", "");
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(reply.field("Content-Type"), Some(expected));
    assert!(reply.body.ends_with("# EOF\n"), "{}", reply.body);
    assert!(!reply.body.contains("canary"), "{}", reply.body);
    assert!(!reply.body.contains(&format!("\"{token}\"")));
    assert_eq!(get(gate.gateway, "/metrics", "").status, 401);
    assert_eq!(send(gate.metrics(), "POST", "/metrics", "", "").status, 405);
    until("only this connection", || {
        metric(&gate, "realmgate_connections") == Some(1)
    });
}

#[test]
fn upstreams_show_their_peers_and_what_failed() {
    let dead = crate::harness::port::Port::reserve();
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
        // A response is read a moment before its request has ended.
        until(name, || {
            metric(&gate, &format!("realmgate_{name}")) == Some(expected)
        });
    }
}

/// Returns whether the text has a line with this value.
fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|it| it == line)
}

#[track_caller]
fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(has_line(text, line), "{line}\n{text}");
    }
}

#[test]
fn durations_cache_throttle_and_clocks_are_shown() {
    let upstream = Upstream::start();
    let rules = routes(upstream.address);
    let gate = Gate::start(&format!("{rules}\n[throttle]\ndelay = \"10m\"\n"));
    let caller = gate.register("billing", "payments");
    for _ in 0..3 {
        get(gate.gateway, "/x", &caller.fields());
    }
    let text = get(gate.metrics(), "/metrics", "").body;
    assert_lines(
        &text,
        &[
            "realmgate_decision_duration_seconds_count{door=\"proxy\"} 3",
            "realmgate_decision_duration_seconds_bucket{le=\"+Inf\",door=\"proxy\"} 3",
            "realmgate_upstream_duration_seconds_count{upstream=\"app\"} 3",
            "realmgate_cache_hits_total{cache=\"known\"} 2",
            "realmgate_cache_misses_total 1",
            "realmgate_totp_step_offset_bucket{le=\"+Inf\"} 3",
            "realmgate_totp_step_offset_bucket{le=\"-2.0\"} 0",
            "realmgate_throttle_delayed{scope=\"known\"} 0",
        ],
    );
    // Each thread has its own connections, so the number of new ones varies.
    let connections: Vec<u64> = ["new", "reused"]
        .map(|kind| {
            let name = "realmgate_upstream_connections_total{upstream=\"app\",kind=";
            metric(&gate, &format!("{name}\"{kind}\"}}")).unwrap()
        })
        .into();
    assert_eq!(connections.iter().sum::<u64>(), 3);
    assert!(connections[0] >= 1);
    let wrong = caller.fields_with(&caller.wrong_token());
    let mut stranger = caller.clone();
    stranger.name = "nobody".to_owned();
    for _ in 0..5 {
        get(gate.gateway, "/x", &wrong);
        get(gate.gateway, "/x", &stranger.fields());
    }
    let text = get(gate.metrics(), "/metrics", "").body;
    assert_lines(
        &text,
        &[
            "realmgate_throttle_delayed{scope=\"pair\"} 1",
            "realmgate_throttle_delayed{scope=\"unknown\"} 1",
            "realmgate_throttle_delays_total 2",
            "realmgate_cache_misses_total 2",
        ],
    );
    // Once per second, a rejected token is also looked for at other times.
    let hits = metric(&gate, "realmgate_cache_hits_total{cache=\"unknown\"}").unwrap();
    assert!((4..=9).contains(&hits), "{hits}");
}

#[test]
fn metrics_of_routes_and_upstreams_that_are_gone_are_dropped_and_others_go_on() {
    let upstream = Upstream::start();
    let rules = routes(upstream.address);
    let gate = Gate::start(&rules);
    for path in ["/public/x", "/x"] {
        get(gate.gateway, path, "");
    }
    let text = std::fs::read_to_string(gate.config()).unwrap();
    let changed = text.replace("name = \"all\"", "name = \"rest\"");
    assert_ne!(text, changed);
    std::fs::write(gate.config(), changed).unwrap();
    gate.signal("HUP");
    until("reloaded", || gate.log().contains("reloaded"));
    let text = get(gate.metrics(), "/metrics", "").body;
    assert!(text.contains("route=\"public\""), "{text}");
    assert!(!text.contains("route=\"all\""), "{text}");
}

#[test]
fn scraper_that_does_not_know_open_metrics_gets_plain_text() {
    let gate = Gate::start("");
    let reply = get(gate.metrics(), "/metrics", "Accept: text/plain\r\n");
    let expected = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(reply.field("Content-Type"), Some(expected));
    let line = "# TYPE realmgate_cache_misses_total counter";
    assert!(has_line(&reply.body, line), "{}", reply.body);
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let reply = get(gate.metrics(), "/metrics", accept);
    assert!(reply.body.ends_with("# EOF\n"));
}

#[test]
fn metrics_are_on_their_own_listener_only_and_health_on_both() {
    let gate = Gate::start("");
    assert_eq!(get(gate.metrics(), "/metrics", "").status, 200);
    for at in [gate.service, gate.metrics()] {
        for (path, expected) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
            let reply = get(at, path, "");
            assert_eq!((reply.status, &*reply.body), (200, expected));
        }
    }
    for path in ["/metrics", "/metrics/", "//metrics", "/%6detrics"] {
        let reply = get(gate.service, path, "");
        assert!(matches!(reply.status, 400 | 404), "{path}: {reply:?}");
        assert!(!reply.body.contains("realmgate_"), "{path}: {reply:?}");
    }
    assert_eq!(get(gate.service, "/metrics", "").status, 404);
    for path in [
        "/",
        "/ungleichotp/",
        "/ungleichotp/verify/",
        "/forward-auth",
    ] {
        for method in ["GET", "POST"] {
            assert_eq!(
                send(gate.metrics(), method, path, "", "").status,
                404,
                "{path}"
            );
        }
    }
}

#[test]
fn metrics_can_be_off() {
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(folder.path(), "").replacen(
        "[metrics]\nlisten = \"127.0.0.1:0\"",
        "[metrics]\nlisten = \"off\"",
        1,
    );
    std::fs::write(folder.path().join("realmgate.toml"), text).unwrap();
    let gate = Gate::start_in(folder, realmgate(&[]));
    assert_eq!(gate.metrics, None);
    assert_eq!(get(gate.service, "/metrics", "").status, 404);
    assert_eq!(get(gate.service, "/readyz", "").status, 200);
}

#[test]
fn metrics_are_there_while_clients_have_all_connections() {
    let gate = Gate::start("[limits]\nconnections = 2\n");
    let held: Vec<_> = (0..2)
        .map(|_| std::net::TcpStream::connect(gate.service).unwrap())
        .collect();
    until("one more is closed at once", || {
        let mut one_more = std::net::TcpStream::connect(gate.service).unwrap();
        one_more.set_read_timeout(Some(PATIENCE)).unwrap();
        one_more.read(&mut [0; 16]).is_ok_and(|read| read == 0)
    });
    assert_eq!(get(gate.metrics(), "/readyz", "").status, 200);
    drop(held);
}

#[test]
fn metrics_beyond_loopback_give_a_warning() {
    let check = |listen: &str| {
        let output = realmgate(&["check"])
            .env("REALMGATE_METRICS_LISTEN", listen)
            .env("REALMGATE_LIMITS_CONNECTIONS", "4000")
            .env("REALMGATE_LIMITS_REQUESTS", "4000")
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    assert!(check("0.0.0.0:8084").contains("metrics.listen is not a loopback address"));
    for quiet in ["127.0.0.1:8084", "[::1]:8084", "off"] {
        assert_eq!(check(quiet), "");
    }
}
