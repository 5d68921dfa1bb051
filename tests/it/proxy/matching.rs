//! Hosts and paths of routes with wildcards, at every door.

use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::{Address as Anywhere, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::Peer;

use super::paths::ask;
use crate::authentication::oracle::{check, check_request};
use crate::harness::{Gate, Upstream, curl, get, raw, stdout, until};

/// Public routes for some hosts and paths; everything else of `guarded.example` needs a credential.
fn gate() -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        r#"
        h2c = true
        [grpc]
        listen = "127.0.0.1:0"
        [[route]]
        name = "open"
        host = ["*.one.example", "**.more.example", "xn--bcher-kva.example"]
        allow = "anyone"
        upstream = "app"
        [[route]]
        name = "paths"
        host = "guarded.example"
        path = ["=/healthz", "/users/*/keys"]
        allow = "anyone"
        upstream = "app"
        allow_double_slash = true
        allow_encoded_slash = true
        [[route]]
        name = "guarded"
        host = "guarded.example"
        allow = "authenticated"
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

#[track_caller]
fn assert_all(gate: &Gate, host: &str, path: &str, expected: u16) {
    for (door, status) in ask(gate, host, path) {
        // At forward-auth, a request without a route is rejected like one that is ambiguous.
        let expected = match (door, expected) {
            ("proxy" | "proxy, HTTP/2", expected) => expected,
            (_, 404) => 400,
            (_, expected) => expected,
        };
        assert_eq!(status, expected, "{host}{path} at {door}");
    }
}

#[test]
fn wildcard_host_is_whole_labels_more_at_every_door() {
    let (gate, _upstream) = gate();
    for host in [
        "a.one.example",
        "A.One.Example",
        "a.one.example.",
        "a.one.example:8443",
        "A.ONE.EXAMPLE.:8443",
        "xn--a-ecp.one.example",
        "xn--bcher-kva.example",
        "XN--BCHER-KVA.example",
        "a.more.example",
        "c.b.a.more.example",
    ] {
        assert_all(&gate, host, "/", 200);
    }
    for host in [
        "one.example",
        "b.a.one.example",
        "aone.example",
        "a.badone.example",
        "more.example",
        "a.one.example.evil",
        "example",
    ] {
        assert_all(&gate, host, "/", 404);
    }
    for host in [
        ".one.example",
        "a..one.example",
        "*.one.example",
        "a.one.example..",
    ] {
        assert_all(&gate, host, "/", 400);
    }
}

#[test]
fn star_and_exact_path_match_what_every_server_reads_alike_at_every_door() {
    let (gate, _upstream) = gate();
    for (path, expected) in [
        ("/healthz", 200),
        ("/healthz?x=/y", 200),
        ("/healthz/x", 401),
        ("/healthzx", 401),
        ("/users/alice/keys", 200),
        ("/users/a%40b.c/keys/1", 200),
        ("/users/alice/keysx", 401),
        ("/users/keys", 401),
        ("/users/a/b/keys", 401),
        ("/x//y", 401),
        // Servers disagree about these.
        ("/healthz/", 400),
        ("/healthz;x", 400),
        ("/users//keys", 400),
        ("/users/a%2fb/keys", 400),
        ("/users/a%252fb/keys", 400),
        ("/users/a;x/keys", 400),
        ("/users/%20/keys", 400),
        ("/users/../keys", 400),
        ("/users/..;/keys", 400),
        ("/users/%2e%2e/keys", 400),
        ("//users/alice/keys", 400),
    ] {
        assert_all(&gate, "guarded.example", path, expected);
    }
}

/// `/` is public for clients at 127.0.0.2 and in 2001:db8::/32, and needs a credential from others.
fn gate_for_an_office() -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        r#"
        [grpc]
        listen = "127.0.0.1:0"
        [networks]
        office = ["127.0.0.2", "2001:db8::/32"]
        [[route]]
        name = "office"
        from = ["office", "127.0.0.1"]
        allow = "anyone"
        upstream = "app"
        [[route]]
        name = "others"
        allow = "authenticated"
        upstream = "app"
        [upstream.app]
        peers = ["{}"]
        "#,
        upstream.address
    ));
    (gate, upstream)
}

#[test]
fn route_for_a_network_matches_clients_there_at_every_door() {
    let (gate, _upstream) = gate_for_an_office();
    let at_proxy = |address: &str| {
        let url = format!("http://{}/", gate.gateway);
        let output = curl()
            .args([
                "--interface",
                address,
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                &url,
            ])
            .output();
        stdout(&output.unwrap())
    };
    assert_eq!(at_proxy("127.0.0.2"), "200");
    assert_eq!(at_proxy("127.0.0.3"), "401");
    let described = "X-Original-Method: GET\r\nX-Original-URL: http://a/\r\n";
    let forwarded = "X-Forwarded-Method: GET\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Forwarded-Uri: /\r\n";
    let original = check_request("", "", "");
    let over_grpc = |address: &str| {
        let mut asked = original.clone();
        let attributes = asked.attributes.as_mut().unwrap();
        let http = attributes.request.as_mut().unwrap().http.as_mut().unwrap();
        http.headers.clear();
        attributes.source = (!address.is_empty()).then(|| Peer {
            address: Some(Anywhere {
                address: Some(Address::SocketAddress(SocketAddress {
                    address: address.into(),
                    ..SocketAddress::default()
                })),
            }),
            ..Peer::default()
        });
        check(&gate, &asked).status.unwrap().code
    };
    for (address, expected) in [
        ("127.0.0.2", 200),
        ("::ffff:127.0.0.2", 200),
        ("2001:db8::7", 200),
        ("127.0.0.3", 401),
        ("2001:db9::7", 401),
        ("::ffff:127.0.0.3", 401),
        // That of a front proxy is never that of a client.
        ("127.0.0.1", 401),
        ("unknown", 401),
        ("", 401),
    ] {
        for (door, fields, header) in [
            ("nginx", described, "X-Real-IP"),
            ("traefik", forwarded, "X-Forwarded-For"),
            ("caddy", forwarded, "X-Forwarded-For"),
            ("haproxy", forwarded, "X-Forwarded-For"),
            ("envoy/", "", "X-Forwarded-For"),
        ] {
            let named = match address {
                "" => String::new(),
                address => format!("{header}: {address}\r\n"),
            };
            let path = format!("/forward-auth/{door}");
            let reply = get(gate.service, &path, &format!("{fields}{named}"));
            assert_eq!(reply.status, expected, "{address} at {door}");
        }
        let code = if expected == 200 { 0 } else { 16 };
        assert_eq!(over_grpc(address), code, "{address} over gRPC");
    }
}

#[test]
fn route_for_a_network_never_matches_a_client_that_nobody_named() {
    let (gate, _upstream) = gate_for_an_office();
    // A connection from a front proxy, in service.trusted_proxies, names no client.
    assert_eq!(get(gate.gateway, "/", "").status, 401);
    let named = "X-Forwarded-For: 127.0.0.2\r\nX-Real-IP: 127.0.0.2\r\n";
    assert_eq!(get(gate.gateway, "/", named).status, 401);
    until("it is logged", || {
        gate.log()
            .contains("no trusted party named the address of the client")
    });
    assert_eq!(gate.log().matches("no trusted party named").count(), 1);
}

#[test]
fn explain_says_which_network_a_client_is_not_in() {
    let (gate, _upstream) = gate_for_an_office();
    let explain = |more: &[&str]| {
        let args = [&["explain", "GET", "http://a/"], more].concat();
        stdout(&gate.run(&args))
    };
    let text = explain(&[]);
    let said: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["route"], "others");
    assert_eq!(said["client"], serde_json::Value::Null);
    assert_eq!(said["routes"][0]["misfits"].to_string(), "[\"network\"]");
    let said: serde_json::Value = serde_json::from_str(&explain(&["--from", "127.0.0.2"])).unwrap();
    assert_eq!(said["route"], "office");
    assert_eq!(said["proxy"]["passes"], true);
    let said: serde_json::Value = serde_json::from_str(&explain(&["--from", "127.0.0.1"])).unwrap();
    assert_eq!(said["route"], "others");
    let said: serde_json::Value = serde_json::from_str(&explain(&["--from", "127.0.0.3"])).unwrap();
    assert_eq!(said["route"], "others");
    assert_eq!(said["client"], "127.0.0.3");
}

#[test]
fn address_of_a_load_balancer_that_names_nobody_is_that_of_no_client() {
    let upstream = Upstream::start();
    let trusted = [("REALMGATE_SERVICE_TRUSTED_PROXIES", "[\"192.0.2.9\"]")];
    let gate = Gate::start_with(
        &trusted,
        &format!(
            r#"
        proxy_protocol = ["127.0.0.1"]
        [[route]]
        name = "here"
        from = ["127.0.0.0/8"]
        allow = "anyone"
        upstream = "app"
        [[route]]
        name = "others"
        allow = "authenticated"
        upstream = "app"
        [upstream.app]
        peers = ["{}"]
        "#,
            upstream.address
        ),
    );
    let unspecified = b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    for (header, expected) in [
        (&b"PROXY TCP4 127.0.0.7 192.0.2.1 4711 80\r\n"[..], 200),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n", 401),
        (b"PROXY UNKNOWN\r\n", 401),
        (unspecified, 401),
        (local, 401),
    ] {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let reply = raw(gate.gateway, &[header, request].concat());
        assert_eq!(reply.status, expected, "{}", header.escape_ascii());
    }
}
