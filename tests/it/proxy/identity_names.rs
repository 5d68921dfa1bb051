//! Identity headers with other names for single upstreams.

use std::fs;

use data_encoding::BASE64;

use crate::authentication::oracle::{check, check_request};
use crate::harness::{Gate, Reply, Upstream, field, get, until};

/// Routes to two applications. The first one has identity headers of its own.
fn rules(own: &Upstream, other: &Upstream) -> String {
    format!(
        r#"
        [grpc]
        listen = "127.0.0.1:0"
        [[route]]
        name = "own"
        path = "/own"
        allow = "authenticated"
        upstream = "own"
        [[route]]
        name = "open"
        path = "/open"
        allow = "anyone"
        upstream = "own"
        [[route]]
        name = "public"
        path = "/public"
        allow = "anyone"
        upstream = "other"
        [[route]]
        name = "other"
        allow = "authenticated"
        upstream = "other"
        [upstream.own]
        peers = ["{}"]
        identity_headers = {{ user = "X-Who", realm = "X-Area" }}
        [upstream.other]
        peers = ["{}"]
        "#,
        own.address, other.address
    )
}

const FORGED: &str = "X-Who: root@ops\r\nx-area: root\r\nX_Who: root@ops\r\nX.Area: root\r\nX~WHO: root\r\n\
    X-Auth-Name: root\r\nX-Forwarded-User: root@ops\r\n";

#[test]
fn upstream_gets_the_identity_in_its_own_headers_and_clients_send_them_to_nobody() {
    let (own, other) = (Upstream::start(), Upstream::start());
    let gate = Gate::start(&rules(&own, &other));
    let caller = gate.register("billing", "payments");
    let user = format!("billing@payments:{}", caller.token());
    let basic = format!(
        "Authorization: Basic {}\r\n",
        BASE64.encode(user.as_bytes())
    );
    for path in ["/own", "/"] {
        let sent = format!("{FORGED}{basic}");
        // Two credentials are none.
        assert_eq!(get(gate.gateway, path, &sent).status, 401);
        let sent = sent.replace("X-Auth-Name: root\r\n", "");
        assert_eq!(get(gate.gateway, path, &sent).status, 200);
    }
    for path in ["/open", "/public"] {
        assert_eq!(get(gate.gateway, path, FORGED).status, 200);
    }
    let (own, other) = (own.seen(), other.seen());
    assert_eq!((own.len(), other.len()), (2, 2));
    assert_eq!(field(&own[0], "X-Who"), Some("billing@payments"));
    assert_eq!(field(&own[0], "X-Area"), Some("payments"));
    for name in ["X-Auth-Name", "X-Auth-Realm", "X-Forwarded-User"] {
        assert_eq!(field(&own[0], name), None, "{name}");
        assert!(field(&other[0], name).is_some(), "{name}");
    }
    for request in own.iter().chain(&other) {
        assert!(!request.contains("root"), "{request}");
    }
    for request in [&own[1], &other[0], &other[1]] {
        for name in ["x-who", "x-area", "x_who"] {
            assert_eq!(field(request, name), None, "{request}");
        }
    }
}

#[test]
fn names_change_with_a_reload() {
    let (own, other) = (Upstream::start(), Upstream::start());
    let gate = Gate::start(&rules(&own, &other));
    let caller = gate.register("billing", "payments");
    let text = fs::read_to_string(gate.config()).unwrap();
    fs::write(gate.config(), text.replace("X-Who", "X-Caller")).unwrap();
    gate.signal("HUP");
    until("reloaded", || gate.log().contains("reloaded"));
    let forged = format!("X-Who: mine\r\nX-Caller: root\r\n{}", caller.fields());
    assert_eq!(get(gate.gateway, "/own", &forged).status, 200);
    let seen = own.seen().remove(0);
    assert_eq!(field(&seen, "X-Caller"), Some("billing@payments"));
    assert_eq!(field(&seen, "X-Who"), Some("mine"));
}

#[test]
fn permit_of_forward_auth_has_the_headers_of_the_upstream_too() {
    let (own, other) = (Upstream::start(), Upstream::start());
    let gate = Gate::start(&rules(&own, &other));
    let caller = gate.register("billing", "payments");
    let ask = |proxy: &str, path: &str, fields: &str| {
        let nginx = format!("X-Original-Method: GET\r\nX-Original-URL: http://a{path}\r\n");
        let forwarded = format!(
            "X-Forwarded-Method: GET\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Forwarded-Uri: {path}\r\n"
        );
        let (path, described) = match proxy {
            "" => ("/forward-auth".to_owned(), String::new()),
            "nginx" => ("/forward-auth/nginx".to_owned(), nginx),
            "envoy" => (format!("/forward-auth/envoy{path}"), String::new()),
            proxy => (format!("/forward-auth/{proxy}"), forwarded),
        };
        let reply = get(gate.service, &path, &(described + fields));
        assert_eq!(reply.status, 200, "{proxy} {path}");
        reply
    };
    for proxy in ["", "nginx", "traefik", "caddy", "haproxy", "envoy"] {
        // It gets nothing from a response without the header only if it treats it as removed.
        let absent = ["", "caddy"].contains(&proxy).then_some("");
        let own = ask(proxy, "/own", &caller.fields());
        assert_eq!(own.field("X-Auth-Name"), Some("billing"));
        assert_eq!(own.field("X-Forwarded-User"), Some("billing@payments"));
        let (who, area) = match proxy {
            "" => (absent, absent),
            _ => (Some("billing@payments"), Some("payments")),
        };
        assert_eq!(own.field("X-Who"), who, "{proxy}");
        assert_eq!(own.field("X-Area"), area, "{proxy}");
        let removed = |reply: &Reply| {
            let removed = reply.field("x-envoy-auth-headers-to-remove");
            removed.map(|names| names.contains("x-who") && names.contains("x-area"))
        };
        let is_envoy = proxy == "envoy";
        assert_eq!(removed(&own), is_envoy.then_some(false));
        let mut others = vec![ask(proxy, "/other", &caller.fields())];
        if !proxy.is_empty() {
            others.push(ask(proxy, "/open", ""));
            others.push(ask(proxy, "/public", ""));
        }
        for reply in others {
            assert_eq!(reply.field("X-Who"), absent, "{proxy}");
            assert_eq!(reply.field("X-Area"), absent, "{proxy}");
            assert_eq!(removed(&reply), is_envoy.then_some(true));
        }
    }
    for (path, is_own) in [("/own", true), ("/other", false)] {
        let mut asked = check_request("billing", "payments", &caller.token());
        let attributes = asked.attributes.as_mut().unwrap();
        let http = attributes.request.as_mut().unwrap().http.as_mut().unwrap();
        http.path = path.into();
        let answer = format!("{:?}", check(&gate, &asked));
        let (set, removed) = answer.split_once("headers_to_remove").unwrap();
        assert_eq!(set.contains("x-who"), is_own, "{answer}");
        assert_eq!(removed.contains("x-who"), !is_own, "{answer}");
        assert!(set.contains("x-forwarded-user"), "{answer}");
    }
}

#[test]
fn upstream_may_get_one_part_in_the_default_header_of_another() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        "[[route]]\nname = 'all'\nallow = 'authenticated'\nupstream = 'app'\n\
        [upstream.app]\npeers = ['{}']\nidentity_headers = {{ user = 'X-Auth-Name' }}\n",
        upstream.address
    ));
    let caller = gate.register("billing", "payments");
    assert_eq!(get(gate.gateway, "/", &caller.fields()).status, 200);
    let seen = upstream.seen().pop().unwrap();
    assert_eq!(field(&seen, "X-Auth-Name"), Some("billing@payments"));
    for name in ["X-Auth-Realm", "X-Forwarded-User"] {
        assert_eq!(field(&seen, name), None, "{name}");
    }
}
