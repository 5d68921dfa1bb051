//! Throttling of guesses.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{gate, identity, verify};
use crate::harness::{Caller, Gate, PATIENCE, Reply, get, parse, routes, send, until};

/// Delays longer than any test.
const LONG: &str = "[throttle]\ndelay = \"1h\"\nlongest_delay = \"1h\"\n";

/// Requests `/x` from the proxy with another source address.
fn get_from(source: &str, gate: &Gate, fields: &str) -> Reply {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source: IpAddr = source.parse().unwrap();
    let source = SockAddr::from(SocketAddr::from((source, 0)));
    socket.bind(&source).unwrap();
    socket.connect(&SockAddr::from(gate.gateway)).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    parse(&bytes)
}

fn count(gate: &Gate, sql: &str) -> i64 {
    gate.number(sql)
}

#[test]
fn failures_count_together_at_every_door_and_can_be_cleared() {
    let (gate, upstream) = gate(LONG);
    let victim = gate.register("billing", "payments");
    let verifier = gate.register("checker", "ungleich-auth");
    let wrong = victim.fields_with(&victim.wrong_token());
    // Five failures, each at another place.
    assert_eq!(get(gate.gateway, "/x", &wrong).status, 401);
    assert_eq!(get(gate.service, "/forward-auth", &wrong).status, 401);
    assert_eq!(get(gate.service, "/ungleichotp/", &wrong).status, 403);
    assert_eq!(verify(&gate, &verifier, &victim, "000000").status, 403);
    assert_eq!(verify(&gate, &verifier, &victim, "000001").status, 403);
    // A correct token gets the same response as a wrong one.
    for fields in [victim.fields(), wrong] {
        let reply = get(gate.gateway, "/x", &fields);
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (429, "too many failures\n")
        );
        let left: u64 = reply.field("Retry-After").unwrap().parse().unwrap();
        assert!((3500..=3600).contains(&left), "{left}");
        for (path, expected) in [("/forward-auth", 401), ("/ungleichotp/", 403)] {
            let reply = get(gate.service, path, &fields);
            assert_eq!(reply.status, expected, "{path}");
            assert!(reply.field("Retry-After").is_some(), "{path}");
        }
    }
    assert_eq!(
        verify(&gate, &verifier, &victim, &victim.token()).status,
        403
    );
    assert_eq!(upstream.seen(), [""; 0]);
    assert!(gate.log().contains("too many failures"), "{}", gate.log());
    let metrics = get(gate.metrics(), "/metrics", "").body;
    assert!(
        metrics.contains("realmgate_throttle_delays_total 1\n"),
        "{metrics}"
    );
    until("unthrottled", || {
        identity(&gate, &["unthrottle"], &victim);
        get(gate.gateway, "/x", &victim.fields()).status == 200
    });
}

/// Returns the statuses of `turns` turns of four wrong tokens and a correct one.
fn guess_between_successes(turns: usize, ask: impl FnMut(bool) -> u16) -> Vec<u16> {
    let turn = [false, false, false, false, true];
    (0..turns).flat_map(|_| turn).map(ask).collect()
}

#[test]
fn success_in_between_buys_no_guess_at_any_door() {
    let (gate, _upstream) = gate(LONG);
    let verifier = gate.register("checker", "ungleich-auth");
    type Ask<'a> = &'a dyn Fn(&Caller, &str) -> Reply;
    let asks: [(u16, Ask<'_>); 4] = [
        (401, &|who, token| {
            get(gate.gateway, "/x", &who.fields_with(token))
        }),
        (401, &|who, token| {
            get(gate.service, "/forward-auth", &who.fields_with(token))
        }),
        (403, &|who, token| {
            get(gate.service, "/ungleichotp/", &who.fields_with(token))
        }),
        (403, &|who, token| verify(&gate, &verifier, who, token)),
    ];
    for (number, (wrong, ask)) in asks.into_iter().enumerate() {
        // The caller who lists identities is an administrator.
        let realm = ["payments", "payments", "ungleich-admin", "payments"][number];
        let victim = gate.register(&format!("victim-{number}"), realm);
        // From the first correct token on, the source is trusted; `/forward-auth` knows no sources.
        let statuses = guess_between_successes(20, |is_right| {
            let token = if is_right {
                victim.token()
            } else {
                victim.wrong_token()
            };
            ask(&victim, &token).status
        });
        until("saved", || {
            let shown = identity(&gate, &["show"], &victim);
            let waits = ["waits", "trusted_waits"].map(|it| shown["throttle"][it].as_u64());
            waits.into_iter().max() > Some(Some(0))
        });
        // Four before the source is trusted, then five.
        let passed = statuses.iter().filter(|&&it| it == 200).count();
        let first_denied = statuses.iter().rposition(|&it| it == 200).unwrap();
        assert!(passed <= 2, "{number}: {statuses:?}");
        assert!(first_denied < 10, "{number}: {statuses:?}");
        assert!(statuses.contains(&wrong), "{number}: {statuses:?}");
    }
    assert!(gate.log().contains("trusted_source"), "{}", gate.log());
}

#[test]
fn late_and_early_tokens_are_rejected_and_are_no_guesses() {
    let (gate, upstream) = gate(LONG);
    let victim = gate.register("billing", "payments");
    for turn in 0..30 {
        let steps = [-4_i64, -3, 3, 4][turn % 4];
        let token = victim.token_of(steps);
        let reply = get(gate.gateway, "/x", &victim.fields_with(&token));
        assert_eq!(reply.status, 401, "{steps}");
    }
    assert_eq!(upstream.seen(), [""; 0]);
    assert_eq!(get(gate.gateway, "/x", &victim.fields()).status, 200);
    assert!(gate.log().contains("outside_window"), "{}", gate.log());
}

#[test]
fn clock_that_is_five_minutes_off_is_found_in_the_log() {
    let (gate, _upstream) = gate("[throttle]\nfailures = 1000\nsource_failures = 10000\n");
    let caller = gate.register("billing", "payments");
    let line = "the rejected token is valid at another time";
    let is_found = |steps: &str| {
        let log = gate.log();
        let mut lines = log.lines().filter(|it| it.contains(line));
        lines.any(|it| it.contains(" name=\"billing\" realm=\"payments\"") && it.contains(steps))
    };
    // A step may begin in the meantime.
    for (steps, expected) in [
        (-10, ["steps=-10", "steps=-11"]),
        (15, ["steps=15", "steps=14"]),
    ] {
        // At most one search runs per second.
        until("the offset is found", || {
            let fields = caller.fields_with(&caller.token_of(steps));
            assert_eq!(get(gate.gateway, "/x", &fields).status, 401);
            expected.iter().any(|it| is_found(it))
        });
    }
    assert!(!gate.log().contains("outside_window"), "{}", gate.log());
}

#[test]
fn rejections_are_sent_at_the_end_of_a_slot() {
    let (gate, _upstream) = gate("");
    let verifier = gate.register("checker", "ungleich-auth");
    let [active, idle] = ["active", "idle"].map(|name| gate.register(name, "payments"));
    let unknown = Caller {
        name: "unknown".into(),
        ..idle.clone()
    };
    get(gate.gateway, "/x", &active.fields());
    for who in [&active, &idle, &unknown] {
        let wrong = who.fields_with(&who.wrong_token());
        let asks: [&dyn Fn() -> Reply; 4] = [
            &|| get(gate.gateway, "/x", &wrong),
            &|| get(gate.service, "/forward-auth", &wrong),
            &|| get(gate.service, "/ungleichotp/", &wrong),
            &|| verify(&gate, &verifier, who, "000000"),
        ];
        for ask in asks {
            let began = Instant::now();
            let reply = ask();
            assert!(
                began.elapsed() >= Duration::from_millis(5),
                "{}",
                reply.status
            );
        }
    }
}

#[test]
fn clients_of_a_verifier_do_not_throttle_each_other() {
    let (gate, _upstream) = gate(LONG);
    let verifier = gate.register("checker", "ungleich-auth");
    let person = gate.register("person", "people");
    for n in 0..60 {
        let typo = Caller {
            name: format!("typo-{n}"),
            ..person.clone()
        };
        assert_eq!(verify(&gate, &verifier, &typo, "000000").status, 403);
    }
    assert_eq!(
        verify(&gate, &verifier, &person, &person.token()).status,
        200
    );
    // They do not throttle others at the verifier's address either.
    let other = gate.register("other", "people");
    assert_eq!(get(gate.gateway, "/x", &other.fields()).status, 200);
}

#[test]
fn verifier_may_name_the_address_of_its_client() {
    let (gate, _upstream) = gate(LONG);
    let verifier = gate.register("checker", "ungleich-auth");
    let [person, other] = ["person", "other"].map(|name| gate.register(name, "people"));
    let ask = |who: &Caller, token: &str, field: Option<&str>, header: &str| {
        let mut body = serde_json::json!({
            "auth_name": verifier.name, "auth_realm": verifier.realm,
            "auth_token": verifier.token(),
            "name": who.name, "realm": who.realm, "token": token,
        });
        if let Some(field) = field {
            body["client_address"] = field.into();
        }
        let fields = format!("Content-Type: application/json\r\n{header}");
        let path = "/ungleichotp/verify/";
        send(gate.service, "POST", path, &fields, &body.to_string())
    };
    let guesser = "X-Auth-Client-Address: 198.51.100.7\r\n";
    for n in 0..60 {
        let typo = Caller {
            name: format!("typo-{n}"),
            ..person.clone()
        };
        assert_eq!(ask(&typo, "000000", None, guesser).status, 403);
    }
    let right = person.token();
    assert_eq!(ask(&person, &right, Some("198.51.100.7"), "").status, 403);
    assert_eq!(
        ask(&person, &right, Some("198.51.100.7"), guesser).status,
        403
    );
    assert_eq!(ask(&person, &right, Some("198.51.100.8"), "").status, 200);
    assert_eq!(ask(&other, &other.token(), None, "").status, 200);
    for (field, header) in [
        (Some("here"), ""),
        (Some(""), ""),
        (Some("198.51.100.8"), guesser),
        (
            None,
            "X-Auth-Client-Address: 198.51.100.8, 198.51.100.9\r\n",
        ),
    ] {
        let reply = ask(&person, &right, field, header);
        let expected = r#"{"client_address": ["Enter a valid IPv4 or IPv6 address."]}"#;
        assert_eq!(
            (reply.status, &*reply.body),
            (400, expected),
            "{field:?} {header}"
        );
    }
}

#[test]
fn rest_behind_a_trusted_proxy_takes_the_address_that_it_names() {
    let (gate, _upstream) = gate(LONG);
    let admin = gate.register("root", "ungleich-admin");
    let from = |address: &str, token: &str| {
        let fields = admin.fields_with(token) + &format!("X-Forwarded-For: {address}\r\n");
        get(gate.service, "/ungleichotp/", &fields).status
    };
    assert_eq!(from("198.51.100.1", &admin.token()), 200);
    for n in 0..20 {
        // The client's own part of the header does not count.
        from(&format!("198.51.100.1, 203.0.113.{n}, 127.0.0.1"), "000000");
    }
    assert_eq!(from("203.0.113.99", &admin.token()), 403);
    assert_eq!(from("198.51.100.1", &admin.token()), 200);
    assert_eq!(from("203.0.113.5, 198.51.100.1", &admin.token()), 200);
}

#[test]
fn processes_on_one_database_share_a_budget() {
    let (one, upstream) = gate(LONG);
    let more = format!("{LONG}\n{}", routes(upstream.address));
    let other = one.start_beside(&more);
    let [victim, home] = ["victim", "home"].map(|name| one.register(name, "payments"));
    let wrong = victim.fields_with(&victim.wrong_token());
    for _ in 0..5 {
        assert_eq!(get(one.gateway, "/x", &wrong).status, 401);
    }
    until("the other process has heard of it", || {
        let metrics = get(other.metrics(), "/metrics", "").body;
        metrics.contains("realmgate_throttle_delayed{scope=\"known\"} 1\n")
    });
    assert_eq!(get(other.gateway, "/x", &victim.fields()).status, 429);
    // Trusted sources are shared too.
    assert_eq!(get(one.gateway, "/x", &home.fields()).status, 200);
    until("saved", || {
        count(&one, "SELECT count(*) FROM failure WHERE scope = 'pair'") == 1
    });
    let wrong = home.fields_with(&home.wrong_token());
    for n in 1..=6 {
        get_from(&format!("127.0.2.{n}"), &one, &wrong);
    }
    assert_eq!(get(one.gateway, "/x", &home.fields()).status, 200);
    until("the other process has heard of it", || {
        let metrics = get(other.metrics(), "/metrics", "").body;
        metrics.contains("realmgate_throttle_delayed{scope=\"known\"} 2\n")
    });
    assert_eq!(get_from("127.0.2.9", &other, &home.fields()).status, 429);
    assert_eq!(get(other.gateway, "/x", &home.fields()).status, 200);
}

#[test]
fn failures_of_this_very_second_are_forgiven_too() {
    let (gate, _upstream) = gate(LONG);
    let victim = gate.register("billing", "payments");
    let wrong = victim.fields_with(&victim.wrong_token());
    for _ in 0..7 {
        get(gate.gateway, "/x", &wrong);
    }
    identity(&gate, &["unthrottle"], &victim);
    until("forgiven", || {
        get(gate.gateway, "/x", &victim.fields()).status == 200
    });
}

/// White space around a name is trimmed before failures are counted; any other spelling is another
/// name.
#[test]
fn spellings_of_a_name_count_with_it_or_are_other_names() {
    let (gate, _upstream) = gate(LONG);
    let victim = gate.register("billing", "payments");
    let verifier = gate.register("checker", "ungleich-auth");
    let spelt = |name: &str, realm: &str| Caller {
        name: name.to_owned(),
        realm: realm.to_owned(),
        ..victim.clone()
    };
    for name in [
        "Billing",
        "BILLING",
        "ｂilling",
        "billin\u{261}",
        "billing\u{200b}",
        "billing@payments",
    ] {
        let other = spelt(name, "payments");
        assert_eq!(
            verify(&gate, &verifier, &other, &victim.token()).status,
            403,
            "{name}"
        );
    }
    let wrong = victim.wrong_token();
    for (name, realm) in [
        (" billing", "payments"),
        ("billing ", "payments"),
        ("billing\n", "payments"),
        ("\u{a0}billing", "payments"),
        ("billing", "\tpayments\u{2003}"),
    ] {
        let same = spelt(name, realm);
        assert_eq!(verify(&gate, &verifier, &same, &wrong).status, 403);
    }
    assert_eq!(get(gate.gateway, "/x", &victim.fields()).status, 429);
}

#[test]
fn guesses_at_the_same_time_get_no_more_verdicts() {
    let (gate, upstream) = gate(LONG);
    let victim = gate.register("billing", "payments");
    let wrong = victim.fields_with(&victim.wrong_token());
    let statuses: Vec<_> = thread::scope(|scope| {
        let guesses: Vec<_> = (1..=40)
            .map(|n| {
                let (gate, wrong) = (&gate, &wrong);
                scope.spawn(move || get_from(&format!("127.0.1.{n}"), gate, wrong).status)
            })
            .collect();
        guesses.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|&&it| it == status).count();
    assert_eq!((count(401), count(429)), (5, 35), "{statuses:?}");
    assert_eq!(upstream.seen(), [""; 0]);
}

#[test]
fn attacker_at_full_rate_does_not_lock_out_the_admin() {
    let (gate, _upstream) = gate(LONG);
    let admin = gate.register("admin", "ungleich-admin");
    let home = "127.0.0.1";
    assert_eq!(get_from(home, &gate, &admin.fields()).status, 200);
    let wrong = admin.fields_with(&admin.wrong_token());
    thread::scope(|scope| {
        for source in ["127.0.0.2", "127.0.0.3"] {
            let (gate, wrong) = (&gate, &wrong);
            scope.spawn(move || {
                for _ in 0..100 {
                    assert!(matches!(get_from(source, gate, wrong).status, 401 | 429));
                }
            });
        }
        for _ in 0..50 {
            assert_eq!(get_from(home, &gate, &admin.fields()).status, 200);
        }
    });
    // At other sources, the correct token is throttled too.
    assert_eq!(get_from("127.0.0.2", &gate, &admin.fields()).status, 429);
    assert_eq!(get_from("127.0.0.4", &gate, &admin.fields()).status, 429);
    assert_eq!(get_from(home, &gate, &admin.fields()).status, 200);
}

#[test]
fn every_denial_gets_the_same_outcomes() {
    let (gate, _upstream) = gate(LONG);
    let [wrong, disabled, expired, early] =
        ["wrong", "disabled", "expired", "early"].map(|name| gate.register(name, "payments"));
    identity(&gate, &["disable"], &disabled);
    gate.expire(&expired);
    identity(&gate, &["set", "--not-before", "30d"], &early);
    let unknown = Caller {
        name: "unknown".into(),
        ..wrong.clone()
    };
    let answers = |who: &Caller, token: &str| {
        let fields = who.fields_with(token);
        let asked = (0..8).map(|turn| match turn % 3 {
            0 => get(gate.gateway, "/x", &fields),
            1 => get(gate.service, "/forward-auth", &fields),
            _ => get(gate.service, "/ungleichotp/", &fields),
        });
        let plain = |reply: Reply| {
            let lines = reply.head.lines().filter(|line| {
                let name = line.to_lowercase();
                !name.starts_with("date:") && !name.starts_with("retry-after:")
            });
            // Each request has another id.
            let id = reply.field("X-Request-Id").unwrap();
            let lines: Vec<_> = lines.map(|line| line.replace(id, "id")).collect();
            let waits = reply.field("Retry-After").is_some();
            (lines, waits, reply.body)
        };
        asked.map(plain).collect::<Vec<_>>()
    };
    let expected = answers(&wrong, &wrong.wrong_token());
    assert!(!expected[4].1 && expected[5].1, "{expected:?}");
    for who in [disabled, expired, early, unknown] {
        assert_eq!(answers(&who, &who.token()), expected, "{}", who.name);
    }
}

#[test]
fn counts_survive_a_kill() {
    let (gate, _upstream) = gate(LONG);
    let [victim, known] = ["victim", "known"].map(|name| gate.register(name, "payments"));
    assert_eq!(get(gate.gateway, "/x", &known.fields()).status, 200);
    for who in [&victim, &known] {
        let wrong = who.fields_with(&who.wrong_token());
        for source in ["127.0.0.5", "127.0.0.6"] {
            for _ in 0..3 {
                get_from(source, &gate, &wrong);
            }
        }
    }
    until("saved", || {
        count(
            &gate,
            "SELECT count(*) FROM failure WHERE scope <> 'source'",
        ) == 3
    });
    let gate = gate.restart();
    assert_eq!(get(gate.gateway, "/x", &victim.fields()).status, 429);
    assert_eq!(get(gate.gateway, "/x", &known.fields()).status, 200);
    assert_eq!(get_from("127.0.0.7", &gate, &known.fields()).status, 429);
}
