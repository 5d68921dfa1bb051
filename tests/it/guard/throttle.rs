//! Guessing is slowed down.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;

use rusqlite::{Connection, OpenFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{gate, identity, verify};
use crate::harness::{Caller, Gate, PATIENCE, Reply, get, parse, until};

/// Delays that no test outlasts.
const LONG: &str = "[throttle]\ndelay = \"1h\"\nlongest_delay = \"1h\"\n";

/// Asks the proxy for `/x` from another address of this machine.
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

fn database(gate: &Gate) -> Connection {
    let path = gate.config().with_file_name("realmgate.db");
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

fn count(gate: &Gate, sql: &str) -> i64 {
    database(gate).query_row(sql, (), |row| row.get(0)).unwrap()
}

#[test]
fn failures_count_together_at_every_door_and_are_pardoned() {
    let (gate, upstream) = gate(LONG);
    let victim = gate.register("billing", "payments");
    let verifier = gate.register("checker", "ungleich-auth");
    let wrong = victim.fields_with(&victim.wrong_token());
    // Five, each at another place.
    assert_eq!(get(gate.gateway, "/x", &wrong).status, 401);
    assert_eq!(get(gate.service, "/forward-auth", &wrong).status, 401);
    assert_eq!(get(gate.service, "/ungleichotp/", &wrong).status, 403);
    assert_eq!(verify(&gate, &verifier, &victim, "000000").status, 403);
    assert_eq!(verify(&gate, &verifier, &victim, "000001").status, 403);
    // The right token gets no other answer than a wrong one.
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
    let figures = get(gate.metrics(), "/metrics", "").body;
    assert!(
        figures.contains("realmgate_throttle_delays_total 1\n"),
        "{figures}"
    );
    until("pardoned", || {
        identity(&gate, &["unthrottle"], &victim);
        get(gate.gateway, "/x", &victim.fields()).status == 200
    });
}

/// White space around a name is cut off before it is counted; any other spelling is another name.
#[test]
fn spellings_of_a_name_are_counted_with_it_or_are_somebody_else() {
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
    // Elsewhere the right token waits too.
    assert_eq!(get_from("127.0.0.2", &gate, &admin.fields()).status, 429);
    assert_eq!(get_from("127.0.0.4", &gate, &admin.fields()).status, 429);
    assert_eq!(get_from(home, &gate, &admin.fields()).status, 200);
}

#[test]
fn whoever_cannot_pass_gets_the_same_answers_for_whatever_reason() {
    let (gate, _upstream) = gate(LONG);
    let [wrong, disabled, expired, early] =
        ["wrong", "disabled", "expired", "early"].map(|name| gate.register(name, "payments"));
    identity(&gate, &["disable"], &disabled);
    identity(
        &gate,
        &["set", "--expires", "2020-01-01T00:00:00Z"],
        &expired,
    );
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
            let lines: Vec<_> = lines.map(str::to_owned).collect();
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
        count(&gate, "SELECT count(*) FROM throttle") == 3
    });
    let gate = gate.restart();
    assert_eq!(get(gate.gateway, "/x", &victim.fields()).status, 429);
    assert_eq!(get(gate.gateway, "/x", &known.fields()).status, 200);
    assert_eq!(get_from("127.0.0.7", &gate, &known.fields()).status, 429);
}
