//! Random requests to realmgate, compared with a model of ungleich-otp (`model.py`).

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{Caller, Gate, stderr};

/// The behavior of ungleich-otp: its window, seeds in every response, no throttling.
const AS_BEFORE: &str = "[totp]\nwindow = 3\n[compat]\nreveal_seeds = true\n\
    [throttle]\nfailures = 1000000\nsource_failures = 1000000\n";

/// The number of requests, and the seed of the random numbers. `REALMGATE_COMPAT_REQUESTS` and
/// `REALMGATE_COMPAT_SEED` override them.
const REQUESTS: u32 = 4000;
const SEED: &str = "1";

#[test]
fn random_requests_are_answered_as_the_model_of_the_old_server_answers_them() {
    let of = |name: &str, default: String| std::env::var(name).unwrap_or(default);
    let requests = of("REALMGATE_COMPAT_REQUESTS", REQUESTS.to_string());
    let gate = Gate::start(AS_BEFORE);
    let who = |caller: Caller| json!([caller.name, caller.realm, caller.seed]);
    let given = json!({
        "address": [gate.service.ip().to_string(), gate.service.port()],
        "residents": [
            who(gate.register("admin", "ungleich-admin")),
            who(gate.register("auth", "ungleich-auth")),
            who(gate.register("user", "payments")),
        ],
        "seed": of("REALMGATE_COMPAT_SEED", SEED.to_owned()),
        "requests": requests.parse::<u32>().unwrap(),
    });
    let output = python("random_requests.py", given.to_string().as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
    let statuses: HashMap<u16, u32> = serde_json::from_slice(&output.stdout).unwrap();
    println!("{statuses:?}");
    // Each kind of response has been compared often.
    for status in [200, 201, 204, 301, 400, 403, 404, 405, 406, 415] {
        let count = statuses.get(&status).copied().unwrap_or_default();
        assert!(count >= 5, "{status}: {statuses:?}");
    }
    assert!(
        !statuses.keys().any(|status| *status >= 500),
        "{statuses:?}"
    );
}

#[test]
fn model_matches_the_record() {
    let output = python("recorded.py", b"");
    assert!(output.status.success(), "{}", stderr(&output));
}

fn python(script: &str, given: &[u8]) -> std::process::Output {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(project.join("target/tools/bin/python"))
        .arg("-B")
        .arg(project.join("tests/it/rest/compat").join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("python: {error}; run scripts/setup test"));
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(given).unwrap();
    drop(stdin);
    python.wait_with_output().unwrap()
}
