//! Python services that were written for ungleich-otp.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{Caller, Gate, stderr};

#[test]
fn services_with_pyotp_requests_and_urllib_are_understood_in_both_generations() {
    // Each kind of client sends wrong tokens for the same principals.
    let gate = Gate::start("[throttle]\nfailures = 1000\nsource_failures = 1000\n");
    let who = |caller: &Caller| json!([caller.name, caller.realm, caller.seed]);
    let given = json!({
        "url": format!("http://{}", gate.service),
        "admin": who(&gate.register("admin", "ungleich-admin")),
        "auth": who(&gate.register("auth", "ungleich-auth")),
        "user": who(&gate.register("user", "ungleich-intern")),
    });
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(project.join("target/tools/bin/python"))
        .arg(project.join("tests/it/rest/compat/services.py"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("python: {error}; run scripts/setup test"));
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(given.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}
