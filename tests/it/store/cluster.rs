//! Several nodes on one PostgreSQL server, and their behaviour when it fails.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::harness::postgres::Postgres;
use crate::harness::relay::Relay;
use crate::harness::{Caller, Gate, PATIENCE, get, stderr, until};

pub(super) const ONCE: &str = "[realm.once]\nreuse = \"once\"\n";

pub(super) fn status(gate: &Gate, caller: &Caller) -> u16 {
    get(gate.service, "/forward-auth", &caller.fields()).status
}

pub(super) fn readiness(gate: &Gate) -> u16 {
    get(gate.metrics(), "/readyz", "").status
}

pub(super) fn on(address: impl std::fmt::Display) -> String {
    format!("url = \"postgres://django@{address}/postgres\"")
}

#[test]
fn change_with_psql_takes_effect_on_every_node_within_a_second() {
    // The loop polls often while the identity is disabled.
    let patient = "[throttle]\nfailures = 100000\n";
    let one = Gate::start_on_postgres(patient);
    let nodes = [one.start_beside(patient), one.start_beside(patient)];
    let caller = one.register("svc", "payments");
    let nodes = [&one, &nodes[0], &nodes[1]];
    for node in nodes {
        until("cached", || status(node, &caller) == 200);
    }
    for (state, expected) in [("disabled", 401), ("enabled", 200)] {
        let sql = format!("UPDATE identity SET state = '{state}' WHERE name = 'svc' RETURNING 1");
        let config = one.config();
        assert_eq!(crate::harness::postgres::sql_in(&config, &sql).trim(), "1");
        // The guarantee is one second; the rest is a margin for a busy machine. The cache would keep
        // it for five minutes.
        for node in nodes {
            until(state, || status(node, &caller) == expected);
        }
    }
}

#[test]
fn one_time_token_passes_once_over_three_nodes() {
    let one = Gate::start_on_postgres(ONCE);
    let others = [one.start_beside(ONCE), one.start_beside(ONCE)];
    let caller = one.register("svc", "once");
    let nodes = [one.service, others[0].service, others[1].service];
    let fields = caller.fields();
    let passed: usize = thread::scope(|scope| {
        let tries: Vec<_> = (0..12)
            .flat_map(|_| nodes)
            .map(|node| {
                let fields = &fields;
                scope.spawn(move || get(node, "/forward-auth", fields).status)
            })
            .collect();
        let tries = tries.into_iter().map(|it| it.join().unwrap());
        tries.filter(|it| *it == 200).count()
    });
    assert_eq!(passed, 1);
}

#[test]
fn cached_callers_pass_through_a_failover_and_others_after_it() {
    let primary = Postgres::start();
    let standby = primary.standby();
    let hosts = format!("{},{}", primary.address(), standby.address());
    let one = Gate::start_on(&on(hosts), ONCE);
    let other = one.start_beside(ONCE);
    let known = one.register("known", "payments");
    let stranger = one.register("stranger", "payments");
    let once = one.register("svc", "once");
    for node in [&one, &other] {
        until("cached", || status(node, &known) == 200);
    }
    until("replicated", || standby.has_identities(3));

    primary.kill();
    // Its processes end shortly after.
    until("the primary is dead", || primary.has_ended());
    assert_eq!(status(&one, &stranger), 503);
    for node in [&one, &other] {
        until("not ready", || {
            assert_eq!(status(node, &known), 200);
            readiness(node) == 503
        });
    }
    assert_eq!(standby.query("SELECT pg_promote()"), "t");
    for node in [&one, &other] {
        until("strangers pass", || {
            assert_eq!(status(node, &known), 200);
            status(node, &stranger) == 200
        });
    }
    // It may have been used in a lost transaction.
    assert_eq!(status(&other, &once), 401);
    until("log", || {
        other
            .log()
            .contains("it may have been used before the failover")
    });
    for node in [&one, &other] {
        until("ready", || readiness(node) == 200);
        until("the failover is counted", || {
            let metrics = get(node.metrics(), "/metrics", "").body;
            metrics.contains("realmgate_store_failovers_total 1\n")
        });
    }
    let late = one.register("late", "payments");
    until("a change after the failover", || {
        status(&other, &late) == 200
    });
}

/// Two nodes after a failover whose old primary came back without being rebuilt.
struct Split {
    old: Postgres,
    new: Postgres,
    nodes: [Gate; 2],
    known: Caller,
    stranger: Caller,
    once: Caller,
    /// Disabled since the failover: the old primary does not have that.
    disabled: Caller,
}

impl Split {
    fn new() -> Self {
        let mut old = Postgres::start();
        let new = old.standby();
        let hosts = format!("{},{}", old.address(), new.address());
        let one = Gate::start_on(&on(hosts), ONCE);
        let nodes = [one.start_beside(ONCE), one];
        let known = nodes[1].register("known", "payments");
        let stranger = nodes[1].register("stranger", "payments");
        let disabled = nodes[1].register("disabled", "payments");
        let once = nodes[1].register("svc", "once");
        for node in &nodes {
            until("cached", || status(node, &known) == 200);
            until("cached", || status(node, &disabled) == 200);
        }
        until("replicated", || new.has_identities(4));
        old.kill();
        until("the primary is dead", || old.has_ended());
        assert_eq!(new.query("SELECT pg_promote()"), "t");
        for node in &nodes {
            until("the failover is counted", || failovers(node) == "1");
        }
        let who = ["--name", "disabled", "--realm", "payments"];
        let output = nodes[1].run(&[&["identity", "disable"][..], &who].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        for node in &nodes {
            until("disabled", || status(node, &disabled) == 401);
            // Caches were dropped.
            until("cached again", || status(node, &known) == 200);
        }
        old.restart();
        assert_eq!(old.query("SELECT pg_is_in_recovery()"), "f");
        Self {
            old,
            new,
            nodes,
            known,
            stranger,
            once,
            disabled,
        }
    }
}

fn failovers(node: &Gate) -> String {
    let metrics = get(node.metrics(), "/metrics", "").body;
    let mut lines = metrics.lines();
    let found = lines.find_map(|line| line.strip_prefix("realmgate_store_failovers_total "));
    found.unwrap().to_owned()
}

#[test]
fn old_primary_that_returns_is_not_used_while_the_new_one_is_away() {
    let mut split = Split::new();
    split.new.kill();
    until("the new primary is dead", || split.new.has_ended());
    for node in &split.nodes {
        until("the log names the old timeline", || {
            assert_eq!(status(node, &split.known), 200);
            let line = "accepts writes on an old timeline and is not used";
            node.log().contains(line)
        });
        until("not ready", || readiness(node) == 503);
        let metrics = get(node.metrics(), "/metrics", "").body;
        let old = "realmgate_store_old_servers_total ";
        let old = metrics.lines().find_map(|line| line.strip_prefix(old));
        assert_ne!(old, Some("0"), "{metrics}");
        assert_eq!(status(node, &split.known), 200);
        assert_eq!(status(node, &split.stranger), 503);
        assert_eq!(status(node, &split.once), 503);
        assert_eq!(status(node, &split.disabled), 401);
    }
    let sql = "SELECT count(*) FROM spent";
    assert_eq!(split.old.query(sql), "0");
    split.new.restart();
    for node in &split.nodes {
        until("strangers pass", || status(node, &split.stranger) == 200);
        until("ready", || readiness(node) == 200);
        assert_eq!(status(node, &split.disabled), 401);
        assert_eq!(failovers(node), "1");
    }
}

#[test]
fn process_that_starts_beside_two_primaries_uses_the_one_with_the_higher_timeline() {
    let split = Split::new();
    let third = split.nodes[1].start_beside(ONCE);
    assert_eq!(status(&third, &split.disabled), 401);
    assert_eq!(status(&third, &split.known), 200);
    assert!(third.log().contains("two database servers accept writes"));
    for node in split.nodes.iter().chain([&third]) {
        until("the other server is in the metrics", || {
            let metrics = get(node.metrics(), "/metrics", "").body;
            metrics.contains("realmgate_store_other_writable_servers 1\n")
        });
    }
    let checked = split.nodes[1].run(&["check", "--connect"]);
    let warning = "1 of the other hosts in store.url accept writes too";
    assert!(stderr(&checked).contains(warning), "{}", stderr(&checked));
    assert_eq!(failovers(&third), "0");
    let late = split.nodes[1].register("late", "payments");
    until("written to the new primary", || {
        status(&third, &late) == 200
    });
    let sql = "SELECT count(*) FROM identity WHERE name = 'late'";
    assert_eq!(split.new.query(sql), "1");
    assert_eq!(split.old.query(sql), "0");
    split.old.kill();
    until("the other server is gone", || {
        let metrics = get(third.metrics(), "/metrics", "").body;
        metrics.contains("realmgate_store_other_writable_servers 0\n")
    });
}

#[test]
fn nodes_leave_a_primary_that_goes_on_beside_a_new_one() {
    let old = Postgres::start();
    let new = old.standby();
    let hosts = format!("{},{}", old.address(), new.address());
    let gate = Gate::start_on(&on(hosts), "");
    let known = gate.register("known", "payments");
    until("replicated", || new.has_identities(1));
    until("cached", || status(&gate, &known) == 200);
    assert_eq!(new.query("SELECT pg_promote()"), "t");
    until("the failover is counted", || failovers(&gate) == "1");
    new.sql("UPDATE identity SET state = 'disabled' WHERE name = 'known'");
    until("disabled", || status(&gate, &known) == 401);
}

#[test]
fn start_of_a_timeline_is_recorded_without_a_one_time_request() {
    let primary = Postgres::start();
    let standby = primary.standby();
    let hosts = format!("{},{}", primary.address(), standby.address());
    let gate = Gate::start_on(&on(hosts), ONCE);
    until("replicated", || {
        let sql = "SELECT count(*) FROM pg_tables WHERE tablename = 'timeline'";
        standby.query(sql) == "1"
    });
    primary.kill();
    until("the primary is dead", || primary.has_ended());
    assert_eq!(standby.query("SELECT pg_promote()"), "t");
    until("the failover is counted", || failovers(&gate) == "1");
    let sql = "SELECT count(*) FROM timeline WHERE since BETWEEN extract(epoch FROM now()) - 300
        AND extract(epoch FROM now())";
    until("recorded", || standby.query(sql) == "1");
}

#[test]
fn network_that_loses_all_packets_keeps_out_strangers_only() {
    let server = Postgres::start();
    let relay = Relay::start(server.address());
    let gate = Gate::start_on(&on(relay.address), "");
    let known = gate.register("known", "payments");
    let stranger = gate.register("stranger", "payments");
    let admin = gate.register("boss", "ungleich-admin");
    until("cached", || status(&gate, &known) == 200);
    until("cached", || status(&gate, &admin) == 200);
    relay.stop();
    let asked = Instant::now();
    assert_eq!(status(&gate, &stranger), 503);
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    until("not ready", || {
        assert_eq!(status(&gate, &known), 200);
        readiness(&gate) == 503
    });
    // A disabled administrator would change something otherwise.
    assert_eq!(status(&gate, &admin), 503);
    relay.go_on();
    until("administrators pass", || status(&gate, &admin) == 200);
    until("strangers pass", || status(&gate, &stranger) == 200);
    until("ready", || readiness(&gate) == 200);
}

#[test]
fn invalid_name_written_with_psql_is_rejected_and_holds_up_no_node() {
    let server = Postgres::start();
    let one = Gate::start_on(&on(server.address()), "");
    let other = one.start_beside("");
    let nodes = [one, other];
    let known = nodes[0].register("known", "payments");
    let row = "INSERT INTO identity (name, realm, seed, algorithm, digits, period, state, created, updated)
        SELECT 'oops ', realm, seed, algorithm, digits, period, state, created, updated FROM identity";
    for name in ["'oops '", "E'\\u00A0oops'", "chr(28) || 'oops'", "''"] {
        let refused = server.try_query(&row.replace("'oops '", name)).unwrap_err();
        assert!(refused.contains("identity_name"), "{refused}");
    }
    for (row, constraint) in [
        (
            "INSERT INTO change VALUES (9223372036854775807, 'a', 'b')",
            "change_seq",
        ),
        (
            "INSERT INTO node SELECT '\\x0000000000000001', 'a', 'b', 'c', 0, 0, 0, 0, -9223372036854775808",
            "node_seen",
        ),
    ] {
        let refused = server.try_query(row).unwrap_err();
        assert!(refused.contains(constraint), "{refused}");
    }
    for node in &nodes {
        until("cached", || status(node, &known) == 200);
    }
    // As a row from before the constraint would leave it.
    server.sql("INSERT INTO change VALUES (nextval('change_seq'), 'oops ', 'payments')");
    // As logical replication leaves the sequence.
    server.sql("SELECT setval('change_seq', 1)");
    server.sql("UPDATE identity SET state = 'disabled'");
    for node in &nodes {
        until("disabled", || status(node, &known) == 401);
        assert_eq!(readiness(node), 200);
        assert!(!node.log().contains("the change log cannot be read"));
    }
}

#[test]
fn functions_that_other_roles_created_are_not_called() {
    let server = Postgres::start();
    let gate = Gate::start_on(&on(server.address()), "");
    for (name, arguments, returns) in [
        ("nextval", "text", "bigint"),
        ("setval", "text, bigint", "bigint"),
        ("unnest", "text[]", "SETOF text"),
        ("unnest", "bytea[]", "SETOF bytea"),
    ] {
        let function = format!(
            "CREATE FUNCTION public.{name}({arguments}) RETURNS {returns} LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'caught'; END $$"
        );
        server.sql(&function);
    }
    let known = gate.register("known", "payments");
    until("cached", || status(&gate, &known) == 200);
    let wrong = known.fields_with(&known.wrong_token());
    assert_eq!(get(gate.service, "/forward-auth", &wrong).status, 401);
    server.sql("UPDATE identity SET state = 'disabled'");
    until("disabled", || status(&gate, &known) == 401);
    for action in ["enable", "rotate", "delete"] {
        let who = ["--name", "known", "--realm", "payments"];
        let output = gate.run(&[&["identity", action][..], &who].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert!(!gate.log().contains("caught"), "{}", gate.log());
}

#[test]
fn table_that_is_locked_holds_up_no_cached_caller_and_leaves_no_connections_behind() {
    let server = Postgres::start();
    let gate = Gate::start_on(&format!("{}\nconnections = 2", on(server.address())), "");
    let known = gate.register("known", "payments");
    let stranger = gate.register("stranger", "payments");
    until("cached", || status(&gate, &known) == 200);
    let mut lock = Command::new("psql")
        .args(["--quiet", "--dbname", &server.url(), "--command"])
        .arg("BEGIN; LOCK TABLE identity; SELECT pg_sleep(60)")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("locked", || {
        let sql = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted
            AND relation = 'identity'::regclass";
        server.query(sql) == "1"
    });
    thread::scope(|scope| {
        let strangers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| status(&gate, &stranger)))
            .collect();
        assert_eq!(status(&gate, &known), 200);
        for one in strangers {
            assert_eq!(one.join().unwrap(), 503);
        }
    });
    let connections = || -> u32 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'realmgate'";
        server.query(sql).parse().unwrap()
    };
    until("cancelled", || connections() <= 3);
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()";
    assert_eq!(server.query(sql), "1");
    lock.wait().unwrap();
    until("strangers pass", || status(&gate, &stranger) == 200);
}

#[test]
fn session_that_holds_the_lock_of_changes_is_named() {
    let server = Postgres::start();
    let gate = Gate::start_on(&format!("{}\ntimeout = \"1s\"", on(server.address())), "");
    let caller = gate.register("svc", "payments");
    server.sql("CREATE ROLE mallory LOGIN");
    let lock = "SELECT pg_advisory_lock((1919774055::bigint << 32)
        | 'public.identity'::regclass::oid::bigint), pg_sleep(60)";
    let mut lock = Command::new("psql")
        .args(["--quiet", "--dbname", &server.url_of("mallory")])
        .args(["--command", lock])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let held = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted";
    until("locked", || !server.query(held).is_empty());
    let pid = server.query(held);
    let expected = format!(
        "process {pid} of the server, of role \\\"mallory\\\" (application \\\"psql\\\"), holds the lock"
    );
    let disable = ["identity", "disable", "svc@payments"];
    for command in [&disable[..], &["check", "--connect"]] {
        let output = gate.run(command);
        assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    }
    // Nobody else waits for it.
    assert_eq!(status(&gate, &caller), 200);
    server.query(&format!("SELECT pg_terminate_backend({pid})"));
    lock.wait().unwrap();
    let output = gate.run(&disable);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn database_that_accepts_no_writes_is_not_ready_and_comes_back() {
    let server = Postgres::start();
    let gate = Gate::start_on(&on(server.address()), "");
    let known = gate.register("known", "payments");
    until("cached", || status(&gate, &known) == 200);
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    server.sql("SELECT pg_reload_conf()");
    until("not ready", || {
        assert_eq!(status(&gate, &known), 200);
        readiness(&gate) == 503
    });
    let create = [
        "identity", "create", "--name", "late", "--realm", "payments",
    ];
    let refused = gate.run(&create);
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    server.sql("ALTER SYSTEM RESET default_transaction_read_only");
    server.sql("SELECT pg_reload_conf()");
    until("ready", || readiness(&gate) == 200);
    let late = gate.register("late", "payments");
    until("a change", || status(&gate, &late) == 200);
}
