//! Key rotation while the store is in use.

use std::fs;
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rusqlite::Connection;
use serde_json::Value;

use super::{database, failure, key_file, keys, new_key, run};
use crate::harness::{Caller, Gate, get, realmgate, stderr, until};
use crate::store::fill;

fn status(gate: &Gate, caller: &Caller) -> u16 {
    get(gate.service, "/forward-auth", &caller.fields()).status
}

fn folder(gate: &Gate) -> std::path::PathBuf {
    gate.config().parent().unwrap().to_owned()
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn start_rotation(gate: &Gate) -> Child {
    realmgate(&["key", "rotate", "--json", "--config"])
        .arg(gate.config())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn no_request_fails_while_every_seed_is_sealed_anew() {
    let gate = Gate::start("");
    fill(&gate.config(), 0..3000);
    let folder = folder(&gate);
    let callers: Vec<_> = (0..4)
        .map(|n| gate.register(&format!("c{n}"), "r"))
        .collect();
    // The replaced seed is encrypted too.
    let before = gate.register("changing", "r");
    let args = [
        "identity", "rotate", "--grace", "1d", "--name", "changing", "--realm", "r",
    ];
    assert!(gate.run(&args).status.success());
    let [(old, ..)] = keys(&folder, &[]).try_into().unwrap();
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let made = thread::scope(|scope| {
        for caller in callers.iter().chain([&before]) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let status = status(&gate, caller);
                    if status != 200 {
                        stop.store(true, Ordering::Relaxed);
                        panic!("{} got {status}: {}", caller.name, gate.log());
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let writer = scope.spawn(|| {
            let mut made = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                made.push(gate.register(&format!("during{}", made.len()), "r"));
            }
            made
        });
        let output = gate.run(&["key", "rotate"]);
        stop.store(true, Ordering::Relaxed);
        let rotated = report(&output);
        assert_eq!(rotated["retired"], serde_json::json!([old]));
        assert!(rotated["resealed"].as_u64().unwrap() >= 3005);
        let progress: Value =
            serde_json::from_str(stderr(&output).lines().last().unwrap()).unwrap();
        assert_eq!(progress["done"], progress["total"]);
        writer.join().unwrap()
    });
    assert!(asked.load(Ordering::Relaxed) > 100);
    assert!(made.len() > 2);
    // The server encrypts new identities with the new key too.
    let admin = gate.register("admin", "ungleich-admin");
    until("creation over REST", || {
        let body = "name=rest&realm=r";
        let fields = format!(
            "{}Content-Type: application/x-www-form-urlencoded\r\n",
            admin.fields()
        );
        let path = "/ungleichotp/";
        crate::harness::send(gate.service, "POST", path, &fields, body).status == 201
    });
    let shown = keys(&folder, &[]);
    let seeds = 3000 + 4 + 2 + made.len() as u64 + 2;
    assert_eq!((&*shown[0].1, shown[0].2), ("current", seeds));
    assert_eq!(shown[1], (old, "spare".to_owned(), 0));
    assert_eq!(report(&gate.run(&["key", "check"]))["good"], seeds);
    assert!(gate.run(&["key", "retire"]).status.success());
    assert_eq!(keys(&folder, &[]).len(), 1);
    until("the server lets go of the old key", || {
        gate.log()
            .contains(&format!("keys=\"key {}\"\n", shown[0].0))
    });
    let gate = gate.restart();
    for caller in callers.iter().chain(&made).chain([&before]) {
        assert_eq!(status(&gate, caller), 200, "{}", caller.name);
    }
}

#[test]
fn killed_rotation_continues_where_it_stopped() {
    let gate = Gate::start("");
    let caller = gate.register("svc", "r");
    fill(&gate.config(), 0..4000);
    let folder = folder(&gate);
    let lines = || {
        fs::read_to_string(key_file(&folder))
            .unwrap()
            .lines()
            .count()
    };
    // Killed before a seed is re-encrypted, and before the database names the key.
    let early = start_rotation(&gate);
    until("the key in the file", || lines() == 2);
    kill(early);
    let next = keys(&folder, &[])[0].0.clone();
    // Killed in the middle.
    let middle = start_rotation(&gate);
    let sealed_with = |key: &str| {
        let shown = keys(&folder, &[]);
        shown.iter().find(|it| it.0 == key).map_or(0, |it| it.2)
    };
    until("a part", || sealed_with(&next) > 0);
    kill(middle);
    let part = sealed_with(&next);
    assert!((1..4001).contains(&part), "{part}");
    let shown = keys(&folder, &[]);
    assert_eq!(shown[0].1, "current");
    assert_eq!(shown[1].1, "retiring");
    assert_eq!(status(&gate, &caller), 200);
    let rotated = report(&gate.run(&["key", "rotate"]));
    assert_eq!(rotated["key"], *next);
    assert_eq!(rotated["resealed"], 4001 - part);
    assert_eq!(lines(), 2);
    assert_eq!(status(&gate, &caller), 200);
    assert_eq!(report(&gate.run(&["key", "check"]))["good"], 4001);
}

#[test]
fn process_that_cannot_get_the_key_stops_the_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("realmgate.db").display());
    let old = new_key();
    let both = format!("{}{old}", new_key());
    let one = [
        ("REALMGATE_STORE_URL", &*url),
        ("REALMGATE_STORE_KEY", &old),
    ];
    let two = [
        ("REALMGATE_STORE_URL", &*url),
        ("REALMGATE_STORE_KEY", &both),
    ];
    for args in [
        &["init"][..],
        &["identity", "delete", "admin@ungleich-admin"],
    ] {
        assert!(run(folder.path(), &one, args).status.success());
    }
    let gate = Gate::start_with(&one, "");
    let args = [
        "--json", "identity", "create", "--name", "svc", "--realm", "r",
    ];
    let made: Value = report(&run(folder.path(), &one, &args));
    let caller = Caller {
        name: "svc".to_owned(),
        realm: "r".to_owned(),
        seed: made["seed"].as_str().unwrap().to_owned(),
    };
    // If realmgate may not write the keys, a new one must be provided.
    let (code, message) = failure(&run(folder.path(), &one, &["key", "rotate"]));
    assert_eq!(code, Some(2));
    let start = "error: REALMGATE_STORE_KEY: its first key is already the current one, and a new one must be added by hand: insert the output of `realmgate key generate` before it";
    assert!(message.starts_with(start), "{message}");
    let next = keys(folder.path(), &two)[0].clone();
    assert_eq!((&*next.1, next.2), ("next", 0));
    let refused = run(folder.path(), &two, &["key", "rotate"]);
    let expected = format!(
        "error: process {} serves this database and does not have key {}: put the key into its key file, which it reads again by itself, or restart it with the key if it gets its keys from a variable or a credential; then run this command again\n",
        gate.pid(),
        next.0
    );
    assert_eq!(failure(&refused), (Some(2), expected));
    assert_eq!(keys(folder.path(), &two)[1].2, 1);
    assert_eq!(status(&gate, &caller), 200);
    drop(gate);
    let gate = Gate::start_with(&two, "");
    let output = run(folder.path(), &two, &["key", "rotate", "--json"]);
    assert_eq!(report(&output)["resealed"], 1);
    assert_eq!(status(&gate, &caller), 200);
    let (code, message) = failure(&run(folder.path(), &two, &["key", "retire"]));
    assert_eq!(code, Some(2));
    assert!(message.contains("no seed needs key "), "{message}");
}

#[test]
fn seed_sealed_with_a_key_that_does_not_seal_any_more_is_not_written() {
    let gate = Gate::start("");
    gate.register("svc", "r");
    let old: Vec<u8> = database(&gate)
        .query_row("SELECT seed FROM identity", (), |row| row.get(0))
        .unwrap();
    assert!(gate.run(&["key", "rotate"]).status.success());
    let write = |connection: &Connection, sql: &str| connection.execute(sql, (&old,));
    for sql in [
        "UPDATE identity SET seed = ?1",
        "UPDATE identity SET previous_seed = ?1",
        "INSERT INTO identity (name, realm, seed, algorithm, digits, period, state, created, updated)
            VALUES ('x', 'r', ?1, 'SHA1', 6, 30, 'enabled', 0, 0)",
    ] {
        let error = write(&database(&gate), sql).unwrap_err().to_string();
        assert_eq!(error, "the seed is not sealed with the current key");
    }
}
