//! Peers with names: names that cannot be resolved, and names whose addresses change.

use std::fs;
use std::net::TcpListener;
use std::process::Output;
use std::time::Instant;

use crate::harness::port::Port;
use crate::harness::{
    Gate, PATIENCE, Resolver, Upstream, configuration, get, stderr, stdout, until,
};

/// Names for which the resolver never responds.
const SILENT: [&str; 8] = [
    "s0.test wait",
    "s1.test wait",
    "s2.test wait",
    "s3.test wait",
    "s4.test wait",
    "s5.test wait",
    "s6.test wait",
    "s7.test wait",
];

/// A public route to an upstream with these peers and settings.
fn open(peers: &[String], more: &str) -> String {
    let peers: Vec<_> = peers.iter().map(|peer| format!("'{peer}'")).collect();
    format!(
        "[[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'app'\n[upstream.app]\n\
         peers = [{}]\nresolve_interval = '50ms'\n{more}",
        peers.join(", ")
    )
}

fn start(resolver: &Resolver, rules: &str) -> Gate {
    Gate::start_as(resolver.realmgate(&[]), rules)
}

fn status(gate: &Gate) -> u16 {
    get(gate.gateway, "/x", "").status
}

#[test]
fn serve_starts_without_a_name_and_finds_it_later() {
    let upstream = Upstream::start();
    let port = upstream.address.port();
    for absent in ["app.test none", "app.test wait"] {
        let resolver = Resolver::new(&[absent]);
        let gate = start(&resolver, &open(&[format!("app.test:{port}")], ""));
        let reply = get(gate.gateway, "/x", "");
        assert_eq!(
            (reply.status, &*reply.body),
            (503, "no upstream is healthy\n")
        );
        let metrics = get(gate.metrics(), "/metrics", "").body;
        let unresolved = "realmgate_upstream_peers{upstream=\"app\",state=\"unresolved\"} 1\n";
        assert!(metrics.contains(unresolved), "{metrics}");
        resolver.say(&["app.test 127.0.0.1"]);
        until("the name is found", || status(&gate) == 200);
    }
}

#[test]
fn name_that_is_not_found_is_logged_once_and_so_is_its_return() {
    let upstream = Upstream::start();
    let resolver = Resolver::new(&["app.test none"]);
    let gate = start(
        &resolver,
        &open(&[format!("app.test:{}", upstream.address.port())], ""),
    );
    resolver.say(&["app.test 127.0.0.1"]);
    until("the name is found", || status(&gate) == 200);
    resolver.say(&["app.test none"]);
    until("it is lost", || {
        gate.log().contains("its last addresses stay")
    });
    assert_eq!(status(&gate), 200);
    let log = gate.log();
    for line in [
        "it gets no requests",
        "resolves again",
        "its last addresses stay",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
}

#[test]
fn commands_need_no_names_and_check_warns_of_those_that_are_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    let rules = open(&["app.test:1".to_owned(), "127.0.0.1:2".to_owned()], "");
    fs::write(&config, configuration(folder.path(), &rules)).unwrap();
    let resolver = Resolver::new(&[]);
    let run = |line: &str, args: &[&str]| -> Output {
        resolver.say(&[line]);
        let mut command = resolver.realmgate(args);
        command.arg("--config").arg(&config).output().unwrap()
    };
    let create = ["identity", "create", "--name", "a", "--realm", "r"];
    for args in [
        &["init"],
        &create[..],
        &["identity", "list"],
        &["explain", "GET", "http://a/x"],
    ] {
        let output = run("app.test wait", args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    }
    for (line, why) in [
        ("app.test none", "("),
        ("app.test wait", "(no answer within 5 s)"),
    ] {
        let output = run(line, &["check"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let reported = stderr(&output);
        let expected = format!(
            "upstream.app.peers[0] = \"app.test:1\": the name cannot be resolved now {why}"
        );
        assert!(reported.contains(&expected), "{reported}");
        let output = run(line, &["check", "--json"]);
        assert!(stdout(&output).contains("the name cannot be resolved now"));
    }
    let output = run("app.test 127.0.0.1", &["check"]);
    assert!(
        !stderr(&output).contains("not found"),
        "{}",
        stderr(&output)
    );
}

/// Replaces the peers of the upstream, and reloads.
fn reload(gate: &Gate, rules: &str, new: &str) {
    let text = fs::read_to_string(gate.config()).unwrap();
    assert!(text.contains(rules));
    fs::write(gate.config(), text.replace(rules, new)).unwrap();
    gate.signal("HUP");
}

fn silent_peers(upstream: &Upstream) -> Vec<String> {
    let names = SILENT
        .iter()
        .map(|line| format!("{}:1", line.split_once(' ').unwrap().0));
    names.chain([upstream.address.to_string()]).collect()
}

#[test]
fn reload_waits_for_all_silent_names_at_once_and_not_for_long() {
    let upstream = Upstream::start();
    let resolver = Resolver::new(&SILENT);
    let rules = open(&[upstream.address.to_string()], "");
    let gate = start(&resolver, &rules);
    let asked = Instant::now();
    reload(&gate, &rules, &open(&silent_peers(&upstream), ""));
    until("the reload", || gate.log().contains("reloaded config="));
    assert!(asked.elapsed() < PATIENCE);
    assert_eq!(status(&gate), 200);
}

#[test]
fn signal_is_handled_while_a_reload_waits_for_names() {
    let upstream = Upstream::start();
    let resolver = Resolver::new(&SILENT);
    let rules = open(&[upstream.address.to_string()], "");
    let mut gate = start(&resolver, &rules);
    reload(&gate, &rules, &open(&silent_peers(&upstream), ""));
    gate.signal("TERM");
    until("the end", || gate.child.try_wait().unwrap().is_some());
    assert!(gate.child.wait().unwrap().success());
    assert!(!gate.log().contains("reloaded"), "{}", gate.log());
}

#[test]
fn signal_is_handled_while_the_start_waits_for_names() {
    let upstream = Upstream::start();
    let resolver = Resolver::new(&SILENT);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    let ready = folder.path().join("ready.json");
    let rules = open(&silent_peers(&upstream), "");
    fs::write(&config, configuration(folder.path(), &rules)).unwrap();
    let mut command = resolver.realmgate(&["serve", "--config"]);
    command.arg(&config).arg("--ready-file").arg(&ready);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    until("it listens to signals", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:\t"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        caught & (1 << 14) != 0
    });
    let kill = std::process::Command::new("kill")
        .arg(child.id().to_string())
        .status();
    assert!(kill.unwrap().success());
    until("the end", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
    assert!(!ready.exists());
}

#[test]
fn dead_name_holds_up_no_other_of_its_upstream() {
    for dead in ["dead.test none", "dead.test wait"] {
        let old = Upstream::start();
        let port = old.address.port();
        let Ok(listener) = TcpListener::bind(("127.0.0.2", port)) else {
            continue;
        };
        drop(listener);
        let new = Upstream::start_at(([127, 0, 0, 2], port).into());
        let resolver = Resolver::new(&["app.test 127.0.0.1", dead]);
        let peers = [format!("dead.test:{port}"), format!("app.test:{port}")];
        let gate = start(&resolver, &open(&peers, ""));
        assert_eq!(status(&gate), 200);
        assert_eq!(old.seen().len(), 1);
        resolver.say(&["app.test 127.0.0.2", dead]);
        until("the new address is used", || {
            assert_eq!(status(&gate), 200);
            !new.seen().is_empty()
        });
    }
}

#[test]
fn name_with_addresses_of_both_families_uses_the_one_that_responds() {
    let resolver = Resolver::new(&["app.test 127.0.0.1 ::1"]);
    let (upstream, _refuses) = loop {
        let refuses = Port::reserve();
        let port = refuses.address.port();
        if let Ok(listener) = TcpListener::bind(("::1", port)) {
            let address = listener.local_addr().unwrap();
            drop(listener);
            break (Upstream::start_at(address), refuses);
        }
    };
    let peers = [format!("app.test:{}", upstream.address.port())];
    for more in ["", "balance = 'hash'\n", "balance = 'least-busy'\n"] {
        let gate = start(&resolver, &open(&peers, more));
        for _ in 0..20 {
            assert_eq!(status(&gate), 200);
        }
        // The other address family was tried once, and not again.
        let log = gate.log();
        assert_eq!(
            log.matches("connecting to a peer failed").count(),
            1,
            "{log}"
        );
    }
    // A health check detects it before the first request, and counts one peer.
    let check = "health_check = 'tcp'\nhealth_interval = '50ms'\n";
    let gate = start(&resolver, &open(&peers, check));
    let one = "realmgate_upstream_peers{upstream=\"app\",state=\"healthy\"} 1\n";
    until("IPv6 is preferred", || {
        let metrics = get(gate.metrics(), "/metrics", "").body;
        metrics.contains(one) && gate.log().contains("not healthy")
    });
    assert_eq!(status(&gate), 200);
    assert!(!gate.log().contains("connecting to a peer failed"));
}

#[test]
fn family_that_is_not_needed_is_left_alone() {
    let resolver = Resolver::new(&["app.test 127.0.0.1 ::1"]);
    let upstream = Upstream::start();
    let peers = [format!("app.test:{}", upstream.address.port())];
    let gate = start(&resolver, &open(&peers, ""));
    for _ in 0..20 {
        assert_eq!(status(&gate), 200);
    }
    assert_eq!(upstream.seen().len(), 20);
    assert!(!gate.log().contains("WARN"), "{}", gate.log());
}
