//! The work of a request at each door, counted in instructions.

use std::process::Command;

use crate::harness::{stderr, stdout};

/// Fails if a change makes a door slower, or faster, than `tests/instructions.json` says. The message
/// names the command that shows where the instructions go, and the one that records them anew.
#[test]
fn each_door_takes_the_recorded_number_of_instructions() {
    let profile = match cfg!(debug_assertions) {
        true => "dev",
        false => "release",
    };
    // It cannot hang, because a test that does is hard to find.
    let mut bench = Command::new("timeout");
    bench.args(["600", "python3", "bench/instructions", "--check"]);
    bench.args(["--profile", profile, env!("CARGO_BIN_EXE_realmgate")]);
    bench.current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REALMGATE_") {
            bench.env_remove(name);
        }
    }
    let output = bench.output();
    let output = output.unwrap_or_else(|error| panic!("{error}; run scripts/setup test"));
    let (counts, faults) = (stdout(&output), stderr(&output));
    assert!(output.status.success(), "{counts}{faults}");
}
