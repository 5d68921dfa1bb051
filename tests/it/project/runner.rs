//! `scripts/run-tests`, with a program in place of cargo that prints what it is given.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::stdout;

/// Prints the file `all` or `alone`, and ends with the code of its first line.
const CARGO: &str = r#"#!/bin/sh
case " $* " in *" --exact "*) file=alone ;; *) file=all ;; esac
echo "$*" >>"$FAKE/calls"
tail -n +2 "$FAKE/$file"
exit "$(head -n 1 "$FAKE/$file")"
"#;

const ALONE_GOOD: &str = "0\n     Running tests/it/main.rs (target/debug/deps/it-1)\n\nrunning 1 test\ntest x ... ok\n\n\
     test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.1s\n";

/// Runs the script. Returns its exit code, its output, and the calls of cargo.
fn run(all: &str, alone: &str) -> (i32, String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("all"), all).unwrap();
    fs::write(path("alone"), alone).unwrap();
    fs::write(path("cargo"), CARGO).unwrap();
    fs::set_permissions(path("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let others = std::env::var("PATH").unwrap();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/run-tests"))
        .args(["--workspace", "--", "--skip", "y"])
        .env("PATH", format!("{}:{others}", folder.path().display()))
        .env("FAKE", folder.path())
        .env("CARGO_TARGET_DIR", path("target"))
        .output()
        .unwrap();
    let calls = fs::read_to_string(path("calls")).unwrap();
    let report = fs::read_to_string(path("target/failed-tests.txt")).unwrap();
    let printed = stdout(&output);
    assert!(printed.ends_with(&report), "{printed}{report}");
    let code = output.status.code().unwrap();
    (code, report, calls.lines().map(str::to_owned).collect())
}

/// Returns the output of a run in which these tests of `it` fail.
fn failing(names: &[&str]) -> String {
    let outputs = names.iter().map(|name| {
        format!(
            "---- {name} stdout ----\nprinted before\n\nthread '{name}' (1) panicked at \
             tests/it/a.rs:1:2:\nbroken {name}\nstack backtrace:\n   0: f\n\n"
        )
    });
    let outputs: String = outputs.collect();
    let list: String = names.iter().map(|name| format!("    {name}\n")).collect();
    format!(
        "101\n     Running tests/it/main.rs (target/debug/deps/it-1)\n\nrunning 9 tests\n\n\
         failures:\n\n{outputs}\nfailures:\n{list}\ntest result: FAILED. 1 passed; {} failed; \
         0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\n\
         error: test failed, to rerun pass `-p realmgate --test it`\n\
         error: 1 target failed:\n    `-p realmgate --test it`\n",
        names.len()
    )
}

#[test]
fn test_that_fails_and_passes_alone_is_reported_at_the_end_and_fails_nothing() {
    let (code, report, calls) = run(&failing(&["m::one", "m::two"]), ALONE_GOOD);
    assert_eq!(code, 0, "{report}");
    assert!(report.contains("FAULTS TO MEND"), "{report}");
    for name in ["one", "two"] {
        let expected = format!(
            "\n  m::{name}\n    thread 'm::{name}' (1) panicked at tests/it/a.rs:1:2:\n    broken m::{name}\n"
        );
        assert!(report.contains(&expected), "{report}");
    }
    assert!(!report.contains("printed before"), "{report}");
    assert_eq!(
        calls,
        [
            "test --locked --no-fail-fast --workspace -- --skip y",
            "test --locked --workspace --test it -- --exact m::one --test-threads 1",
            "test --locked --workspace --test it -- --exact m::two --test-threads 1",
        ]
    );
}

#[test]
fn test_that_fails_twice_or_is_not_found_fails_the_run() {
    let not_found = ALONE_GOOD.replace("1 passed", "0 passed");
    for alone in [&failing(&["m::one"]), &not_found] {
        let (code, report, _) = run(&failing(&["m::one"]), alone);
        assert_eq!(code, 101, "{report}");
        assert!(report.contains("twice") && report.contains("broken m::one"));
        assert!(!report.contains("FAULTS"), "{report}");
    }
}

#[test]
fn more_than_three_failures_fail_the_run_at_once() {
    let names = ["m::a", "m::b", "m::c", "m::d"];
    let (code, report, calls) = run(&failing(&names), ALONE_GOOD);
    assert_eq!((code, calls.len()), (101, 1), "{report}");
    assert!(names.iter().all(|name| report.contains(*name)), "{report}");
}

#[test]
fn other_failures_fail_the_run_though_each_failed_test_would_pass_alone() {
    let one = failing(&["m::one"]);
    let killed = "101\n     Running tests/it/main.rs (target/debug/deps/it-1)\n\nrunning 9 tests\n\
        error: test failed, to rerun pass `-p realmgate --test it`\n\nCaused by:\n  \
        process didn't exit successfully (signal: 9)\nerror: 1 target failed:\n    `-p realmgate --test it`\n";
    let doc = one
        .replace("error: test failed", "error: doctest failed")
        .replace("--test it`", "--doc`");
    let two = one.replace("1 target failed", "2 targets failed");
    let fewer = one.replace("1 failed;", "2 failed;");
    let build = "101\nerror[E0308]: mismatched types\nerror: could not compile `realmgate`\n";
    let ended = "0\n     Running tests/it/main.rs (target/debug/deps/it-1)\n\nrunning 9 tests\n";
    for (all, expected, says) in [
        (killed, 101, "signal: 9"),
        (&doc, 101, "broken m::one"),
        (&two, 101, "2 targets failed"),
        (&fewer, 101, "2 failed;"),
        (build, 101, "could not compile"),
        (ended, 1, "Running tests/it/main.rs"),
    ] {
        let (code, report, calls) = run(all, ALONE_GOOD);
        assert_eq!((code, calls.len()), (expected, 1), "{report}");
        assert!(report.contains(says), "{says}: {report}");
    }
}
