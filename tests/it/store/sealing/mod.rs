//! Encryption of seeds: key sources, missing and wrong keys, broken seeds and copies.

mod backup;
mod keyless;
mod memory;
mod rotation;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rusqlite::Connection;
use serde_json::Value;

use crate::harness::{Caller, Gate, configuration, get, realmgate, stderr, stdout, until};

/// Runs a command on the store in a directory, with environment variables.
fn run(folder: &Path, environment: &[(&str, &str)], args: &[&str]) -> Output {
    let config = folder.join("realmgate.toml");
    if !config.exists() {
        fs::write(&config, configuration(folder, "")).unwrap();
    }
    realmgate(args)
        .envs(environment.iter().copied())
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

fn failure(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), stderr(output))
}

fn new_key() -> String {
    let output = realmgate(&["key", "generate"]).output().unwrap();
    assert!(output.status.success());
    stdout(&output)
}

/// Returns the output of `key show`: id, role and number of seeds of each key.
fn keys(folder: &Path, environment: &[(&str, &str)]) -> Vec<(String, String, u64)> {
    let output = run(folder, environment, &["key", "show", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines = stdout(&output);
    let key = |line: &str| {
        let key: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        (text("id"), text("role"), key["seeds"].as_u64().unwrap())
    };
    lines.lines().map(key).collect()
}

fn database(gate: &Gate) -> Connection {
    Connection::open(gate.config().with_file_name("realmgate.db")).unwrap()
}

#[test]
fn key_from_the_environment_seals_and_is_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let key = new_key();
    let digits = key.trim().rsplit(':').next().unwrap();
    let environment = [("REALMGATE_STORE_KEY", &*key)];
    let mut seen = String::new();
    for args in [
        &["init"][..],
        &["check"],
        &["check", "--json"],
        &["key", "show"],
    ] {
        let output = run(folder.path(), &environment, args);
        assert!(output.status.success(), "{}", stderr(&output));
        seen += &(stdout(&output) + &stderr(&output));
    }
    assert!(!folder.path().join("realmgate.key").exists());
    let cut = format!("{key}0");
    let output = run(
        folder.path(),
        &[("REALMGATE_STORE_KEY", &cut)],
        &["key", "show"],
    );
    let (code, message) = failure(&output);
    assert_eq!(code, Some(2));
    assert_eq!(
        message,
        "error: REALMGATE_STORE_KEY: is not a key, expected `realmgate-sealing-key-1:` and 64 hexadecimal \
         digits in each of 1 to 16 lines\n"
    );
    assert!(!(seen + &message).contains(digits.get(..8).unwrap()));
}

#[test]
fn key_in_two_places_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let key = new_key();
    let environment = [
        ("REALMGATE_STORE_KEY", &*key),
        ("REALMGATE_STORE_KEY_FILE", "k"),
    ];
    let output = run(folder.path(), &environment, &["serve"]);
    let expected = "error: REALMGATE_STORE_KEY_FILE: store.key_file = k: expected no key file, because \
                    REALMGATE_STORE_KEY contains the key; use one of the two\n";
    assert_eq!(failure(&output), (Some(2), expected.to_owned()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn credential_is_used_where_no_key_is_configured() {
    let (folder, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let credential = credentials.path().join("realmgate.key");
    let environment = [(
        "CREDENTIALS_DIRECTORY",
        credentials.path().to_str().unwrap(),
    )];
    fs::write(&credential, new_key()).unwrap();
    fs::set_permissions(&credential, PermissionsExt::from_mode(0o400)).unwrap();
    let output = run(folder.path(), &environment, &["init"]);
    assert_eq!(failure(&output), (Some(0), String::new()));
    assert!(!folder.path().join("realmgate.key").exists());
    // An environment variable overrides it.
    let key = new_key();
    let both = [environment[0], ("REALMGATE_STORE_KEY", &key)];
    let (code, message) = failure(&run(folder.path(), &both, &["key", "show"]));
    assert_eq!(code, Some(2));
    let start = "error: REALMGATE_STORE_KEY: holds key ";
    assert!(message.starts_with(start), "{message}");
    // Another program provides the file, so it is not created.
    let other = tempfile::tempdir().unwrap();
    fs::remove_file(&credential).unwrap();
    let named = [
        environment[0],
        ("REALMGATE_STORE_KEY_FILE", credential.to_str().unwrap()),
    ];
    let expected = format!(
        "error: credential {}: does not exist\n",
        credential.display()
    );
    let output = run(other.path(), &named, &["init"]);
    assert_eq!(failure(&output), (Some(2), expected));
    assert!(!credential.exists());
}

/// Returns the content of the database and of its log.
fn content(folder: &Path) -> [Option<Vec<u8>>; 2] {
    ["realmgate.db", "realmgate.db-wal"].map(|name| fs::read(folder.join(name)).ok())
}

#[test]
fn lost_or_wrong_key_is_named_and_nothing_is_touched() {
    let mut gate = Gate::start("");
    gate.register("svc", "r");
    // SIGKILL leaves a log that any other process would clean up.
    gate.child.kill().unwrap();
    gate.child.wait().unwrap();
    let folder = gate.config().parent().unwrap().to_owned();
    let (database, key) = (folder.join("realmgate.db"), folder.join("realmgate.key"));
    let [(right, ..)] = keys_of_copy(&folder).try_into().unwrap();
    let before = content(&folder);
    assert!(before[1].as_ref().is_some_and(|log| !log.is_empty()));
    let commands = [
        &["serve"][..],
        &["identity", "list"],
        &["init"],
        &["key", "rotate"],
        &["key", "check"],
    ];
    let lost = format!(
        "error: key file {}: does not exist, but the seeds in database {} are encrypted with key {right}\n",
        key.display(),
        database.display()
    );
    fs::rename(&key, folder.join("kept")).unwrap();
    for args in commands {
        assert_eq!(failure(&run(&folder, &[], args)), (Some(2), lost.clone()));
        assert!(!key.exists(), "{args:?} made a key");
        assert!(content(&folder) == before, "{args:?} wrote");
    }
    fs::write(&key, new_key()).unwrap();
    fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    for args in commands {
        let (code, message) = failure(&run(&folder, &[], args));
        assert_eq!(code, Some(2));
        let start = format!("error: key file {}: holds key ", key.display());
        assert!(message.starts_with(&start), "{message}");
        let end = format!(
            ", but the seeds in database {} are encrypted with key {right}\n",
            database.display()
        );
        assert!(message.ends_with(&end), "{message}");
        assert!(content(&folder) == before, "{args:?} wrote");
    }
    fs::rename(folder.join("kept"), &key).unwrap();
    assert!(run(&folder, &[], &["key", "check"]).status.success());
}

/// Reads a copy, because reading the original would clean up its log.
fn keys_of_copy(folder: &Path) -> Vec<(String, String, u64)> {
    let copy = tempfile::tempdir().unwrap();
    for name in ["realmgate.db", "realmgate.db-wal", "realmgate.key"] {
        fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    keys(copy.path(), &[])
}

#[test]
fn seeds_that_changed_places_are_denied_and_named() {
    let gate = Gate::start("");
    let (a, b) = (gate.register("a", "r"), gate.register("b", "r"));
    let status = |caller: &Caller, of: &Caller| {
        let fields = caller.fields_with(&of.token());
        get(gate.service, "/forward-auth", &fields).status
    };
    until("both", || status(&a, &a) == 200 && status(&b, &b) == 200);
    let database = database(&gate);
    let seed = |name: &str| -> Vec<u8> {
        let sql = "SELECT seed FROM identity WHERE name = ?1";
        database.query_row(sql, (name,), |row| row.get(0)).unwrap()
    };
    let swap = "UPDATE identity SET seed = CASE name WHEN 'a' THEN ?1 ELSE ?2 END";
    let (of_a, of_b) = (seed("a"), seed("b"));
    assert_eq!(database.execute(swap, (of_b, of_a)).unwrap(), 2);
    // Neither with their own seed nor with the one in their row now.
    for (caller, of) in [(&a, &a), (&b, &b), (&a, &b), (&b, &a)] {
        until("denial", || status(caller, of) == 401);
    }
    let broken = "cannot decrypt a seed";
    until("both in the log", || {
        ["name=\"a\" realm=\"r\"", "name=\"b\" realm=\"r\""]
            .iter()
            .all(|who| {
                let log = gate.log();
                log.lines()
                    .any(|line| line.contains(broken) && line.contains(who))
            })
    });
    let shown = gate.run(&["identity", "show", "--name", "a", "--realm", "r"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["seed_strength"], "broken");
    let checked = gate.run(&["key", "check"]);
    assert_eq!(checked.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["good"], 0);
    assert_eq!(report["broken"][0]["name"], "a");
    assert_eq!(report["broken"][1]["name"], "b");
    assert_eq!(
        report["broken"][0]["reason"],
        "the encrypted seed is altered, or belongs to another name"
    );
    // A key that such a seed needs is not retired.
    let rotated = gate.run(&["key", "rotate"]);
    assert_eq!(rotated.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    assert_eq!(report["broken"].as_array().unwrap().len(), 2);
    assert_eq!(report["kept"].as_array().unwrap().len(), 1);
    for name in ["a", "b"] {
        gate.run(&["identity", "rotate", "--name", name, "--realm", "r"]);
    }
    assert!(gate.run(&["key", "check"]).status.success());
    let rotated = gate.run(&["key", "rotate"]);
    let report: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    assert_eq!(report["retired"].as_array().unwrap().len(), 1);
    // A name that is no UTF-8 stops neither the check nor the rotation of the others.
    let sql = "UPDATE identity SET name = CAST(?1 AS TEXT) WHERE name = CAST(?2 AS TEXT)";
    assert_eq!(database.execute(sql, (b"b\xff", b"b")).unwrap(), 1);
    let rotated = gate.run(&["key", "rotate"]);
    assert_eq!(rotated.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    assert_eq!(report["resealed"], 1);
    assert_eq!(report["broken"][0]["name"], "b\u{fffd}");
}

#[test]
fn core_dumps_are_off() {
    let gate = Gate::start("");
    let limits = fs::read_to_string(format!("/proc/{}/limits", gate.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[4..], ["0", "0", "bytes"]);
}

#[test]
fn limits_that_may_not_be_set_stop_it_only_where_core_dumps_are_on() {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/store/sealing/forbid_limits.py");
    let generate = |core: &str| {
        Command::new("python3")
            .arg(&script)
            .arg(core)
            .arg(env!("CARGO_BIN_EXE_realmgate"))
            .args(["key", "generate"])
            .output()
            .unwrap()
    };
    let off = generate("off");
    assert!(off.status.success(), "{}", stderr(&off));
    let expected = "error: cannot disable core dumps, which would contain seeds: \
                    Operation not permitted (os error 1)\n";
    assert_eq!(failure(&generate("on")), (Some(3), expected.to_owned()));
}

fn key_file(folder: &Path) -> PathBuf {
    folder.join("realmgate.key")
}
