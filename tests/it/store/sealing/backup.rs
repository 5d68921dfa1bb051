//! Copies of the database, and their use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use super::{failure, key_file, run};
use crate::harness::{Gate, configuration, get, realmgate, stderr};

#[test]
fn copy_made_while_identities_are_written_is_whole_and_serves() {
    let gate = Gate::start("");
    let caller = gate.register("svc", "r");
    let shelf = tempfile::tempdir().unwrap();
    let path = shelf.path().join("copy.db");
    let copy = path.to_str().unwrap();
    let stop = AtomicBool::new(false);
    let made: Value = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                gate.register(&format!("during{n}"), "r");
                n += 1;
            }
        });
        let output = gate.run(&["backup", copy]);
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    });
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(shelf.path()).unwrap().count(), 1);
    let before = fs::read(&path).unwrap();
    let again = gate.run(&["backup", copy]);
    assert_eq!(again.status.code(), Some(1));
    assert!(fs::read(&path).unwrap() == before);
    let missing = shelf.path().join("missing");
    let output = gate.run(&["backup", missing.join("copy.db").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let why = format!("directory {} does not exist", missing.display());
    assert!(stderr(&output).contains(&why), "{}", stderr(&output));
    assert!(
        !stderr(&output).contains(".realmgate-new"),
        "{}",
        stderr(&output)
    );

    // Restored as docs/operations.md describes.
    let folder = tempfile::tempdir().unwrap();
    fs::copy(&path, folder.path().join("realmgate.db")).unwrap();
    let config = folder.path().join("realmgate.toml");
    fs::write(config, configuration(folder.path(), "")).unwrap();
    let (code, message) = failure(&run(folder.path(), &[], &["identity", "list"]));
    assert_eq!(code, Some(2));
    let needed = made["keys"][0].as_str().unwrap();
    assert!(message.ends_with(&format!("are encrypted with key {needed}\n")));
    let key = key_file(gate.config().parent().unwrap());
    fs::copy(key, key_file(folder.path())).unwrap();
    let checked = run(folder.path(), &[], &["key", "check", "--json"]);
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked["good"], made["identities"]);
    let restored = Gate::start_in(folder, realmgate(&[]));
    let reply = get(restored.service, "/forward-auth", &caller.fields());
    assert_eq!(reply.status, 200);
}

#[test]
fn copy_needs_no_key_and_changes_nothing() {
    let mut gate = Gate::start("");
    gate.register("svc", "r");
    gate.child.kill().unwrap();
    gate.child.wait().unwrap();
    let folder = gate.config().parent().unwrap().to_owned();
    fs::remove_file(key_file(&folder)).unwrap();
    let before = super::content(&folder);
    let copy = folder.join("copy.db");
    let output = gate.run(&["backup", copy.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(super::content(&folder) == before);
}

#[test]
fn copy_of_a_missing_database_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    let output = run(folder.path(), &[], &["backup", copy.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(!copy.exists());
    assert!(!folder.path().join("realmgate.db").exists());
}
