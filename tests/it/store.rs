//! What one process writes counts in another.

use std::time::{Duration, Instant};

use crate::harness::{Gate, get, until};

#[test]
fn what_the_command_line_writes_counts_while_serving() {
    let gate = Gate::start("");
    let who = ["--name", "svc", "--realm", "payments"];
    let caller = gate.register("svc", "payments");
    let status = || get(gate.service, "/forward-auth", &caller.fields()).status;
    // Cached as known, and used.
    until("creation", || status() == 200);
    for (command, expected) in [("disable", 401), ("enable", 200), ("delete", 401)] {
        assert!(
            gate.run(&[&["identity", command][..], &who].concat())
                .status
                .success()
        );
        let written = Instant::now();
        until(command, || status() == expected);
        // The promise is one second; the rest is for a busy machine.
        assert!(written.elapsed() < Duration::from_secs(5), "{command}");
    }
}

#[test]
fn unknown_name_that_is_registered_counts() {
    let gate = Gate::start("");
    let seed = "X-Auth-Name: late\r\nX-Auth-Realm: r\r\nX-Auth-Token: 000000\r\n";
    assert_eq!(get(gate.service, "/forward-auth", seed).status, 401);
    let caller = gate.register("late", "r");
    until("registration", || {
        get(gate.service, "/forward-auth", &caller.fields()).status == 200
    });
}
