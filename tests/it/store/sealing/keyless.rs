//! A process that was stopped during a key rotation and lacks the new key.

use std::fs;

use serde_json::Value;

use super::key_file;
use crate::harness::{Caller, Gate, get, stderr, until};

fn status(gate: &Gate, caller: &Caller) -> u16 {
    get(gate.service, "/forward-auth", &caller.fields()).status
}

fn failures(gate: &Gate, caller: &Caller) -> Value {
    let (name, realm) = (&*caller.name, &*caller.realm);
    let args = ["identity", "show", "--name", name, "--realm", realm];
    let output = gate.run(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    shown["throttle"].clone()
}

/// Rotates the key of a process while another one with the old key is stopped.
fn rotate_past_a_stopped_process(one: &Gate) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let full = key_file(one.config().parent().unwrap());
    fs::copy(&full, &key).unwrap();
    let variables = [("REALMGATE_STORE_KEY_FILE", key.to_str().unwrap())];
    let other = one.start_beside_with(&variables, "");
    let [seen, late] = ["seen", "late"].map(|name| one.register(name, "payments"));
    for gate in [one, &other] {
        until("cached", || status(gate, &seen) == 200);
        assert_eq!(get(gate.metrics(), "/readyz", "").status, 200);
    }

    other.signal("STOP");
    let rotated = one.run(&["key", "rotate"]);
    assert!(rotated.status.success(), "{}", stderr(&rotated));
    other.signal("CONT");
    until("its seeds do not decrypt", || status(&other, &seen) == 401);
    let ready = get(other.metrics(), "/readyz", "");
    assert_eq!(ready.status, 503);
    assert_eq!(
        ready.body,
        "a key that seeds are encrypted with is missing\n"
    );
    assert_eq!(get(one.metrics(), "/readyz", "").status, 200);
    // Correct tokens: they throttle the caller nowhere else, and nothing is saved against it.
    let is_delayed = |gate: &Gate| {
        let metrics = get(gate.metrics(), "/metrics", "").body;
        metrics.contains("realmgate_throttle_delayed{scope=\"unknown\"} 1\n")
    };
    until("throttled, and saved for the other process", || {
        assert_eq!(status(&other, &seen), 401);
        is_delayed(&other) && is_delayed(one)
    });
    assert_eq!(status(one, &seen), 200);
    let counted = failures(one, &seen);
    assert_eq!(counted["failures"], 0, "{counted}");
    assert_eq!(counted["trusted_failures"], 0, "{counted}");

    let next = folder.path().join("next");
    fs::copy(&full, &next).unwrap();
    fs::rename(&next, &key).unwrap();
    // What was cached as broken is read again, whether or not a request needs the new key.
    until("the seed decrypts", || status(&other, &seen) == 200);
    assert_eq!(status(&other, &late), 200);
    assert_eq!(get(other.metrics(), "/readyz", "").status, 200);
    assert!(other.log().contains("keys reloaded"), "{}", other.log());
}

#[test]
fn process_without_the_key_of_a_file_is_not_ready_until_it_has_it() {
    rotate_past_a_stopped_process(&Gate::start(""));
}

#[test]
fn process_without_the_key_of_a_server_is_not_ready_until_it_has_it() {
    rotate_past_a_stopped_process(&Gate::start_on_postgres(""));
}
