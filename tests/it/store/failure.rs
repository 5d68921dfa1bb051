//! Failures of the PostgreSQL server other than its death: no room, no response, a wrong clock.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::cluster::{ONCE, on, readiness, status};
use crate::harness::postgres::Postgres;
use crate::harness::relay::Relay;
use crate::harness::{Gate, stderr, until};
use crate::operation::clock::Clock;

/// The maximum time for a response that is due after `store.timeout`, on a busy machine.
const BUSY: Duration = Duration::from_secs(10);

/// A disk that a test can fill: files cannot become longer while it is full.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("full_disk.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/harness/full_disk.c");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-o"]).arg(library);
        assert!(compile.args([source, "-ldl"]).status().unwrap().success());
        // The server runs as another user.
        let everyone: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), everyone).unwrap();
        Self { folder }
    }

    fn flag(&self) -> PathBuf {
        self.folder.path().join("full")
    }

    fn fill(&self) {
        fs::write(self.flag(), "").unwrap();
    }

    fn clear(&self) {
        fs::remove_file(self.flag()).unwrap();
    }

    fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.folder.path().join("full_disk.so").into()),
            ("FULL_DISK", self.flag().into()),
        ]
    }
}

#[test]
fn full_disk_rejects_changes_and_one_time_tokens_only() {
    let disk = Disk::new();
    let server = Postgres::start_in(disk.environment());
    let gate = Gate::start_on(&on(server.address()), ONCE);
    let stranger = gate.register("stranger", "payments");
    let known = gate.register("known", "payments");
    let once = gate.register("svc", "once");
    until("cached", || status(&gate, &known) == 200);
    disk.fill();
    // Rows go into pages that are there until these are full.
    let mut made = 0;
    let refused = loop {
        let name = format!("n{made}");
        let create = ["identity", "create", "--name", &name, "--realm", "payments"];
        let output = gate.run(&create);
        if !output.status.success() {
            break output;
        }
        made += 1;
        assert!(made < 1000, "the disk is not full");
    };
    assert_eq!(refused.status.code(), Some(3));
    let said = stderr(&refused);
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(status(&gate, &known), 200);
    assert_eq!(status(&gate, &stranger), 200);
    assert_eq!(status(&gate, &once), 503);
    let log = gate.log();
    assert!(log.contains("No space left on device"), "{log}");
    disk.clear();
    let late = gate.register("late", "payments");
    assert_eq!(status(&gate, &late), 200);
    assert_eq!(status(&gate, &once), 200);
    until("ready", || readiness(&gate) == 200);
}

#[test]
fn server_that_dies_of_a_full_disk_keeps_out_strangers_until_it_has_room() {
    let disk = Disk::new();
    let mut server = Postgres::start_in(disk.environment());
    let gate = Gate::start_on(&on(server.address()), ONCE);
    let known = gate.register("known", "payments");
    let stranger = gate.register("stranger", "payments");
    until("cached", || status(&gate, &known) == 200);
    // Its recovery might find room in a file that is there already.
    server.sql("ALTER SYSTEM SET restart_after_crash = off");
    server.sql("SELECT pg_reload_conf()");
    until("it does not start again by itself", || {
        server.query("SHOW restart_after_crash") == "off"
    });
    disk.fill();
    // Needs new files of the write-ahead log. Without room for one, the server crashes.
    until("the server has ended", || {
        let sql = "SELECT pg_logical_emit_message(true, 'x', repeat('x', 8000000))";
        server.try_query(sql).is_err() && server.has_ended()
    });
    until("not ready", || {
        assert_eq!(status(&gate, &known), 200);
        readiness(&gate) == 503
    });
    assert_eq!(status(&gate, &stranger), 503);
    // The next poll finds out, which may be later than a request does.
    until("logged", || {
        gate.log().contains("the change log cannot be read")
    });
    disk.clear();
    server.restart();
    until("strangers pass", || status(&gate, &stranger) == 200);
    until("ready", || readiness(&gate) == 200);
    let late = gate.register("late", "payments");
    until("a change", || status(&gate, &late) == 200);
}

#[test]
fn server_that_does_not_respond_costs_each_request_the_timeout_and_no_more() {
    const TIMEOUT: Duration = Duration::from_millis(1500);
    let server = Postgres::start();
    let store = format!("{}\ntimeout = \"1500ms\"", on(server.address()));
    let gate = Gate::start_on(&store, ONCE);
    let known = gate.register("known", "payments");
    let stranger = gate.register("stranger", "payments");
    let once = gate.register("svc", "once");
    let admin = gate.register("admin", "ungleich-admin");
    until("cached", || status(&gate, &known) == 200);
    until("cached", || status(&gate, &once) == 200);
    let other = gate.register("other", "once");
    server.freeze();
    // The first round finds open connections, the second one cannot make new ones.
    for _ in 0..3 {
        for caller in [&stranger, &other, &admin] {
            let asked = Instant::now();
            assert_eq!(status(&gate, caller), 503, "{}", caller.name);
            assert!(asked.elapsed() < TIMEOUT + BUSY, "{:?}", asked.elapsed());
        }
        // On a busy machine, one of several requests is quick.
        until("a known caller passes at once", || {
            let asked = Instant::now();
            assert_eq!(status(&gate, &known), 200);
            asked.elapsed() < TIMEOUT
        });
    }
    until("not ready", || readiness(&gate) == 503);
    let log = gate.log();
    assert!(log.contains("the store did not respond in time"), "{log}");
    server.thaw();
    until("strangers pass", || status(&gate, &stranger) == 200);
    until("one-time tokens pass", || status(&gate, &other) == 200);
    until("ready", || readiness(&gate) == 200);
}

#[test]
fn slow_server_is_used_until_it_is_slower_than_the_timeout() {
    let server = Postgres::start();
    let relay = Relay::start(server.address());
    let gate = Gate::start_on(&on(relay.address), ONCE);
    let known = gate.register("known", "payments");
    until("cached", || status(&gate, &known) == 200);
    let callers: Vec<_> = (0..3)
        .map(|n| gate.register(&format!("n{n}"), "payments"))
        .collect();
    let once = gate.register("svc", "once");
    relay.delay(Duration::from_millis(100));
    assert_eq!(status(&gate, &callers[0]), 200);
    assert_eq!(status(&gate, &once), 200);
    let disabled = "UPDATE identity SET state = 'disabled' WHERE name = 'n0'";
    server.sql(disabled);
    until("a change is felt", || status(&gate, &callers[0]) == 401);
    assert_eq!(readiness(&gate), 200);
    relay.delay(Duration::from_secs(3));
    until("strangers do not pass", || {
        assert_eq!(status(&gate, &known), 200);
        status(&gate, &callers[1]) == 503
    });
    until("not ready", || readiness(&gate) == 503);
    let log = gate.log();
    assert!(log.contains("the store did not respond in time"), "{log}");
    relay.delay(Duration::ZERO);
    until("strangers pass", || status(&gate, &callers[2]) == 200);
    until("ready", || readiness(&gate) == 200);
}

#[test]
fn stale_if_error_lasts_as_long_as_configured_when_nothing_responds() {
    let server = Postgres::start();
    let relay = Relay::start(server.address());
    let gate = Gate::start_on(&on(relay.address), "[cache]\nstale_if_error = \"4s\"\n");
    let known = gate.register("known", "payments");
    until("cached", || status(&gate, &known) == 200);
    relay.stop();
    let stopped = Instant::now();
    let mut last = Duration::ZERO;
    until("nobody passes", || {
        let asked = stopped.elapsed();
        match status(&gate, &known) {
            200 => last = asked,
            status => assert_eq!(status, 503),
        }
        last < asked
    });
    assert!(last < Duration::from_secs(6), "{last:?}");
    assert!(last > Duration::from_secs(1), "{last:?}");
    relay.go_on();
    until("passes again", || status(&gate, &known) == 200);
}

#[test]
fn clock_of_the_database_may_jump() {
    let clock = Clock::new();
    let primary = Postgres::start_in(clock.environment());
    let standby = primary.standby();
    let hosts = format!("{},{}", primary.address(), standby.address());
    let gate = Gate::start_on(&on(hosts), ONCE);
    let known = gate.register("known", "payments");
    until("cached", || status(&gate, &known) == 200);
    for (round, offset) in ["+2d", "-2d", "+400d", "+0"].into_iter().enumerate() {
        clock.set(offset);
        let days = "SELECT (now() - timestamp '2020-01-01' > interval '10 days')::text";
        assert_eq!(primary.query(days), "true");
        assert_eq!(status(&gate, &known), 200, "{offset}");
        let stranger = gate.register(&format!("n{round}"), "payments");
        assert_eq!(status(&gate, &stranger), 200, "{offset}");
        let once = gate.register(&format!("svc{round}"), "once");
        let fields = once.fields();
        let twice = [0, 1].map(|_| crate::harness::get(gate.service, "/forward-auth", &fields));
        assert_eq!(twice.map(|it| it.status), [200, 401], "{offset}");
        let sql = format!("UPDATE identity SET state = 'disabled' WHERE name = 'n{round}'");
        primary.sql(&sql);
        until(offset, || status(&gate, &stranger) == 401);
        assert_eq!(readiness(&gate), 200, "{offset}");
    }
    // After a failover, its clock does not decide which one-time tokens may have been used.
    let once = gate.register("late", "once");
    until("replicated", || {
        let sql = "SELECT count(*) FROM identity WHERE name = 'late'";
        standby.try_query(sql).is_ok_and(|it| it == "1")
    });
    clock.set("-2d");
    primary.kill();
    until("the primary is dead", || primary.has_ended());
    assert_eq!(standby.query("SELECT pg_promote()"), "t");
    until("it has failed over", || status(&gate, &once) != 503);
    assert_eq!(status(&gate, &once), 401);
    let since = "SELECT max(since) FROM timeline";
    let since: u64 = standby.query(since).parse().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    assert!(since.abs_diff(now.as_secs()) < 300, "{since}");
}
