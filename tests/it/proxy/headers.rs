//! Headers that reach an upstream, and headers that never do.

use data_encoding::BASE64;

use super::gate;
use crate::harness::{Gate, Upstream, field, get, raw, routes, send};

#[test]
fn client_copies_of_identity_fields_never_reach_an_upstream() {
    let (gate, upstream) = gate();
    let caller = gate.register("billing", "payments");
    let forged = "x_auth_name: root\r\nX_AUTH_REALM: root\r\nX.Auth.Name: root\r\n\
        X-Forwarded-User: root\r\nX_Forwarded_User: root\r\nX-Forwarded-For: 6.6.6.6\r\n\
        X-Forwarded-Prefix: /root\r\nX-Forwarded-Port: root\r\nForwarded: for=root\r\n\
        X-Real-IP: 6.6.6.6\r\nX-Original-URL: /root\r\nX-Rewrite-URL: /root\r\n\
        X-Request-Id: root\r\n";
    let public = "X-Auth-Name: root\r\nX-Auth-Realm: root\r\nX-Auth-Token: 666666\r\n";
    assert_eq!(
        get(gate.gateway, "/a", &format!("{forged}{}", caller.fields())).status,
        200
    );
    assert_eq!(
        get(gate.gateway, "/public", &format!("{forged}{public}")).status,
        200
    );
    for seen in upstream.seen() {
        for trace in ["root", "6.6.6.6"] {
            assert!(!seen.contains(trace), "{trace} in {seen}");
        }
        assert_eq!(field(&seen, "X-Auth-Token"), None, "{seen}");
    }
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn stamped_field_survives_being_nominated_as_hop_by_hop() {
    let (gate, upstream) = gate();
    let caller = gate.register("billing", "payments");
    let request = format!(
        "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close, X-Auth-Name, X-Forwarded-User\r\n{}\r\n",
        caller.fields()
    );
    let reply = raw(gate.gateway, request.as_bytes());
    // Either rejected, or with the identity: never without it.
    if reply.status == 200 {
        let seen = upstream.seen().remove(0);
        assert_eq!(field(&seen, "X-Auth-Name"), Some("billing"), "{seen}");
        assert_eq!(field(&seen, "X-Forwarded-User"), Some("billing@payments"));
    } else {
        assert_eq!(reply.status, 400);
        assert_eq!(upstream.seen(), [""; 0]);
    }
}

#[test]
fn method_override_is_taken_off_where_methods_decide() {
    let (gate, upstream) = gate();
    let caller = gate.register("alice", "dev");
    let fields = format!("X-HTTP-Method-Override: DELETE\r\n{}", caller.fields());
    assert_eq!(get(gate.gateway, "/ops", &fields).status, 200);
    assert_eq!(get(gate.gateway, "/other", &fields).status, 200);
    // This request matches a route without methods, beside one with methods for the same path.
    let reply = send(gate.gateway, "PUT", "/ops/x", &fields, "");
    assert_eq!(reply.status, 200);
    let seen = upstream.seen();
    assert_eq!(field(&seen[0], "X-HTTP-Method-Override"), None);
    assert_eq!(field(&seen[1], "X-HTTP-Method-Override"), Some("DELETE"));
    assert_eq!(field(&seen[2], "X-HTTP-Method-Override"), None);
}

#[test]
fn head_falls_under_the_route_for_get() {
    let (gate, upstream) = gate();
    let billing = gate.register("billing", "payments");
    let olga = gate.register("olga", "ops");
    for (caller, expected) in [(&billing, 403), (&olga, 200)] {
        let reply = send(gate.gateway, "HEAD", "/ops", &caller.fields(), "");
        assert_eq!(reply.status, expected);
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn application_keeps_its_own_authorization() {
    let (gate, upstream) = gate();
    let caller = gate.register("billing", "payments");
    let fields = format!("Authorization: Bearer app\r\n{}", caller.fields());
    get(gate.gateway, "/a", &fields);
    get(gate.gateway, "/public", "Authorization: Basic YTpi\r\n");
    let seen = upstream.seen();
    assert_eq!(field(&seen[0], "Authorization"), Some("Bearer app"));
    assert_eq!(field(&seen[1], "Authorization"), Some("Basic YTpi"));
}

#[test]
fn token_is_removed_on_a_public_route_too() {
    let (gate, upstream) = gate();
    let caller = gate.register("billing", "payments");
    let credential = format!("billing@payments:{}", caller.token());
    let basic = BASE64.encode(credential.as_bytes());
    get(
        gate.gateway,
        "/public",
        &format!("Authorization: Basic {basic}\r\n"),
    );
    get(gate.gateway, "/public", &caller.fields());
    let mail = BASE64.encode(b"alice@example.org:password");
    get(
        gate.gateway,
        "/public",
        &format!("Authorization: Basic {mail}\r\n"),
    );
    let seen = upstream.seen();
    assert_eq!(field(&seen[0], "Authorization"), None);
    assert_eq!(field(&seen[1], "X-Auth-Token"), None);
    assert!(field(&seen[2], "Authorization").is_some());
}

#[test]
fn non_ascii_names_are_stamped_percent_encoded() {
    let (gate, upstream) = gate();
    let caller = gate.register("café%", "r@m");
    assert_eq!(get(gate.gateway, "/a", &caller.fields()).status, 200);
    let seen = upstream.seen().remove(0);
    assert_eq!(field(&seen, "X-Auth-Name"), Some("caf%C3%A9%25"));
    assert_eq!(field(&seen, "X-Auth-Realm"), Some("r@m"));
    assert_eq!(field(&seen, "X-Forwarded-User"), Some("caf%C3%A9%25@r%40m"));
}

/// On a guarded route, these are 401. On a public one, and on one that is only observed, the token
/// must not arrive either.
#[test]
fn malformed_credential_never_arrives() {
    let upstream = Upstream::start();
    let observed = "[[route]]\nname = 'observed'\npath = '/observed'\nmode = 'observe'\n\
        allow = [{ realm = 'none' }]\nupstream = 'app'\n";
    let throttle = "[throttle]\nfailures = 1000\nsource_failures = 1000\n";
    let gate = Gate::start(&format!("{throttle}{observed}{}", routes(upstream.address)));
    let caller = gate.register("billing", "payments");
    let token = caller.wrong_token();
    let basic = |text: String| format!("Basic {}", BASE64.encode(text.as_bytes()));
    let exact = basic(format!("billing@payments:{token}"));
    let letters = exact.strip_prefix("Basic ").unwrap();
    let (first, last) = token.split_at(3);
    let mut count = 0;
    for value in [
        exact.trim_end_matches('=').to_owned(),
        format!("{exact}="),
        format!("{exact}, x"),
        format!("Basic \"{letters}\""),
        format!("Bearer x, {exact}"),
        format!("Basic realm=\"x\" {letters}"),
        basic(format!("billing@payments: {token}")),
        basic(format!("billing@payments:{token}\n")),
        basic(format!("billing@payments:{first} {last}")),
        basic(format!(" billing@payments:{token}")),
        basic(format!("billing@payments:{token}:")),
        basic(format!("billing@payments:{token}\0")),
    ] {
        let fields = format!("Authorization: {value}\r\n");
        assert_eq!(get(gate.gateway, "/a", &fields).status, 401, "{value}");
        let both = format!("{}{fields}", caller.fields_with(&token));
        for (path, fields) in [
            ("/public", &fields),
            ("/observed", &fields),
            ("/public", &both),
            ("/observed", &both),
        ] {
            assert_eq!(get(gate.gateway, path, fields).status, 200, "{value}");
            count += 1;
        }
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), count);
    for request in seen {
        assert_eq!(field(&request, "Authorization"), None, "{request}");
        assert!(!request.contains(&token), "{request}");
    }
}
