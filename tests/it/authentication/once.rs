//! One-time tokens.

use std::thread;

use rusqlite::Connection;

use super::{gate, verify};
use crate::harness::{Caller, get, routes, send, until};

const ONCE: &str = "[realm.payments]\nreuse = \"once\"\n";

/// Waits for a step with enough time left.
fn token_with_time(caller: &Caller) -> String {
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.unwrap().as_secs()
    };
    until("the next step", || now() % 30 < 15);
    caller.token()
}

#[test]
fn one_time_token_is_accepted_once_even_after_a_kill() {
    let (gate, _upstream) = gate(ONCE);
    let [caller, other] = ["billing", "other"].map(|name| gate.register(name, "payments"));
    let free = gate.register("alice", "dev");
    let verifier = gate.register("checker", "ungleich-auth");
    let token = token_with_time(&caller);
    let fields = caller.fields_with(&token);
    assert_eq!(get(gate.gateway, "/x", &fields).status, 200);
    for (address, path, expected) in [
        (gate.gateway, "/x", 401),
        (gate.service, "/forward-auth", 401),
        (gate.service, "/ungleichotp/", 403),
    ] {
        assert_eq!(get(address, path, &fields).status, expected, "{path}");
    }
    // The step counts, not the text: digits of another script are the same token.
    let wide: String = token
        .chars()
        .map(|c| char::from_u32(c as u32 + 0xfee0).unwrap())
        .collect();
    for text in [token.clone(), format!(" {token} "), wide] {
        assert_eq!(
            verify(&gate, &verifier, &caller, &text).status,
            403,
            "{text}"
        );
    }
    assert!(gate.log().contains("replayed"));
    // A verification uses the token too.
    let of_other = other.token();
    assert_eq!(verify(&gate, &verifier, &other, &of_other).status, 200);
    assert_eq!(verify(&gate, &verifier, &other, &of_other).status, 403);
    let gate = gate.restart();
    assert_eq!(get(gate.gateway, "/x", &fields).status, 401);
    for _ in 0..3 {
        assert_eq!(get(gate.gateway, "/x", &free.fields()).status, 200);
    }
}

#[test]
fn of_two_concurrent_uses_one_wins() {
    let (gate, upstream) = gate(ONCE);
    let caller = gate.register("billing", "payments");
    let fields = caller.fields_with(&token_with_time(&caller));
    let statuses: Vec<_> = thread::scope(|scope| {
        let twins: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| get(gate.gateway, "/x", &fields).status))
            .collect();
        twins.into_iter().map(|twin| twin.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|&&it| it == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|&&it| it == 401).count(),
        15,
        "{statuses:?}"
    );
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn of_two_uses_at_two_processes_one_wins() {
    let (one, upstream) = gate(ONCE);
    let more = format!("{ONCE}\n{}", routes(upstream.address));
    let other = one.start_beside(&more);
    let caller = one.register("billing", "payments");
    let fields = caller.fields_with(&token_with_time(&caller));
    let statuses: Vec<_> = thread::scope(|scope| {
        let ask = |address| {
            let fields = &fields;
            scope.spawn(move || get(address, "/x", fields).status)
        };
        let twins: Vec<_> = (0..8)
            .flat_map(|_| [one.gateway, other.gateway].map(ask))
            .collect();
        twins.into_iter().map(|twin| twin.join().unwrap()).collect()
    });
    let passed = statuses.iter().filter(|&&it| it == 200).count();
    let refused = statuses.iter().filter(|&&it| it == 401).count();
    assert_eq!((passed, refused), (1, 15), "{statuses:?}");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn token_as_a_number_is_the_same_token() {
    let (gate, _upstream) = gate(ONCE);
    let caller = gate.register("billing", "payments");
    let verifier = gate.register("checker", "ungleich-auth");
    let token = token_with_time(&caller);
    let as_number = || {
        let body = format!(
            r#"{{"auth_name": "{}", "auth_realm": "{}", "auth_token": "{}",
                "name": "{}", "realm": "{}", "token": {}}}"#,
            verifier.name,
            verifier.realm,
            verifier.token(),
            caller.name,
            caller.realm,
            token.trim_start_matches('0'),
        );
        let fields = "Content-Type: application/json\r\n";
        send(gate.service, "POST", "/ungleichotp/verify/", fields, &body).status
    };
    assert_eq!(as_number(), 200);
    assert_eq!(as_number(), 403);
    assert_eq!(verify(&gate, &verifier, &caller, &token).status, 403);
}

#[test]
fn one_time_token_is_rejected_while_its_use_cannot_be_recorded() {
    let (gate, upstream) = gate(ONCE);
    let caller = gate.register("billing", "payments");
    // Another process has locked the database.
    let path = gate.config().with_file_name("realmgate.db");
    let mut held = Connection::open(path).unwrap();
    let held = held
        .transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)
        .unwrap();
    let reply = get(gate.gateway, "/x", &caller.fields());
    assert_eq!(reply.status, 503, "{reply:?}");
    let id = reply.field("X-Request-Id").unwrap();
    assert!(gate.log().contains(id), "{id}: {}", gate.log());
    assert_eq!(upstream.seen(), [""; 0]);
    drop(held);
}
