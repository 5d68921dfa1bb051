//! What guards tokens: slowed down guessing, one-time use, and when an identity may authenticate.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::harness::{
    Caller, Gate, PATIENCE, Reply, Upstream, get, parse, routes, send, stderr, until,
};

/// Delays that no test outlasts.
const LONG: &str = "[throttle]\ndelay = \"1h\"\nlongest_delay = \"1h\"\n";

fn gate(more: &str) -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("{more}\n{}", routes(upstream.address)));
    (gate, upstream)
}

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

fn verify(gate: &Gate, verifier: &Caller, subject: &Caller, token: &str) -> Reply {
    let body = serde_json::json!({
        "auth_name": verifier.name, "auth_realm": verifier.realm, "auth_token": verifier.token(),
        "name": subject.name, "realm": subject.realm, "token": token,
    });
    let fields = "Content-Type: application/json\r\n";
    send(
        gate.service,
        "POST",
        "/ungleichotp/verify/",
        fields,
        &body.to_string(),
    )
}

fn identity(gate: &Gate, args: &[&str], who: &Caller) -> Value {
    let mut all = vec!["identity"];
    all.extend(args);
    all.extend(["--name", &who.name, "--realm", &who.realm]);
    let output = gate.run(&all);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
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
    let figures = get(gate.service, "/metrics", "").body;
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

const ONCE: &str = "[realm.payments]\nreuse = \"once\"\n";

/// Waits for a step that has long enough to go.
fn token_with_time(caller: &Caller) -> String {
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.unwrap().as_secs()
    };
    until("the next step", || now() % 30 < 15);
    caller.token()
}

#[test]
fn token_is_good_once_where_asked_for_and_a_kill_changes_nothing() {
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
    // Not the text counts: digits of another script are the same token.
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
    // Verifying is a use as well.
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
fn of_twins_at_the_same_time_one_wins() {
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
fn of_twins_at_two_processes_one_wins() {
    let (one, upstream) = gate(ONCE);
    let database = one.config().with_file_name("realmgate.db");
    let url = format!("sqlite:{}", database.display());
    let more = format!("{ONCE}\n{}", routes(upstream.address));
    let other = Gate::start_with(&[("REALMGATE_STORE_URL", &url)], &more);
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
fn one_time_token_is_not_good_while_it_cannot_be_noted() {
    let (gate, upstream) = gate(ONCE);
    let caller = gate.register("billing", "payments");
    // Somebody else holds the database.
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

#[test]
fn terms_count_within_a_second_and_can_be_lifted() {
    let (gate, _upstream) = gate("[throttle]\nfailures = 1000\n");
    let caller = gate.register("billing", "payments");
    let status = || get(gate.gateway, "/x", &caller.fields()).status;
    assert_eq!(status(), 200);
    for (option, reason) in [("--expires", "expired"), ("--not-before", "not_yet_valid")] {
        let when = if option == "--expires" {
            "2020-01-31"
        } else {
            "2999-01-31T00:00:00Z"
        };
        let when = if option == "--expires" {
            format!("{when}T00:00:00Z")
        } else {
            when.to_owned()
        };
        identity(
            &gate,
            &["set", option, &when, "--comment", "the shop"],
            &caller,
        );
        until("it counts", || status() == 401);
        assert!(gate.log().contains(reason), "{}", gate.log());
        let shown = identity(&gate, &["set", option, "never"], &caller);
        assert_eq!(shown["comment"], "the shop");
        until("it is lifted", || status() == 200);
    }
    let output = gate.run(&[
        "identity",
        "set",
        "--name",
        "billing",
        "--realm",
        "payments",
        "--expires",
        "soon",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("or never"), "{}", stderr(&output));
}

#[test]
fn two_seeds_count_while_one_replaces_the_other() {
    let (gate, _upstream) = gate("[throttle]\nfailures = 1000\n");
    let old = gate.register("billing", "payments");
    assert_eq!(get(gate.gateway, "/x", &old.fields()).status, 200);
    let rotated = identity(&gate, &["rotate", "--grace", "1h"], &old);
    let new = Caller {
        seed: rotated["seed"].as_str().unwrap().to_owned(),
        ..old.clone()
    };
    assert_ne!(old.seed, new.seed);
    until("the new one counts", || {
        get(gate.gateway, "/x", &new.fields()).status == 200
    });
    assert_eq!(get(gate.gateway, "/x", &old.fields()).status, 200);
    let used = || identity(&gate, &["show"], &old);
    until("each is noted", || {
        let shown = used();
        shown["last_used"].is_u64() && shown["previous_last_used"].is_u64()
    });
    assert!(used()["previous_until"].is_u64(), "{}", used());
    // Renaming seals both anew.
    // Another one, without a grace: both of before end.
    let last = identity(&gate, &["rotate"], &old);
    let last = Caller {
        seed: last["seed"].as_str().unwrap().to_owned(),
        ..old.clone()
    };
    until("the last one counts", || {
        get(gate.gateway, "/x", &last.fields()).status == 200
    });
    for gone in [old, new] {
        assert_eq!(get(gate.gateway, "/x", &gone.fields()).status, 401);
    }
}

#[test]
fn apps_can_read_the_address_of_a_new_seed() {
    let (gate, _upstream) = gate("");
    let who = Caller {
        name: "a b/ü".into(),
        realm: "r@x".into(),
        seed: String::new(),
    };
    let created = identity(
        &gate,
        &["create", "--algorithm", "sha256", "--digits", "8"],
        &who,
    );
    let uri = created["uri"].as_str().unwrap();
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin/python");
    let script = "import pyotp, sys; t = pyotp.parse_uri(sys.argv[1]); \
        print(t.secret, t.name, t.issuer, t.digits, t.digest().name, t.interval)";
    let output = Command::new(python).args(["-c", script, uri]).output();
    let output = output.unwrap_or_else(|error| panic!("{error}; run scripts/setup test"));
    let seed = created["seed"].as_str().unwrap();
    let expected = format!("{seed} a b/ü@r@x realmgate 8 sha256 30\n");
    assert_eq!(
        crate::harness::stdout(&output),
        expected,
        "{}",
        stderr(&output)
    );
}
