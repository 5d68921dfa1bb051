//! The protection of tokens: throttling, one-time use, and validity periods.

mod observe;
mod once;
pub(crate) mod oracle;
mod terms;
mod throttle;

use serde_json::Value;

use crate::harness::{Caller, Gate, Reply, Upstream, routes, send, stderr};

fn gate(more: &str) -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("{more}\n{}", routes(upstream.address)));
    (gate, upstream)
}

fn verify(gate: &Gate, verifier: &Caller, subject: &Caller, token: &str) -> Reply {
    let body = serde_json::json!({
        "auth_name": verifier.name, "auth_realm": verifier.realm, "auth_token": verifier.token(),
        "name": subject.name, "realm": subject.realm, "token": token,
    });
    let fields = "Content-Type: application/json\r\n";
    send(
        gate.service,
        "POST",
        "/ungleichotp/verify/",
        fields,
        &body.to_string(),
    )
}

fn identity(gate: &Gate, args: &[&str], who: &Caller) -> Value {
    let mut all = vec!["identity"];
    all.extend(args);
    all.extend(["--name", &who.name, "--realm", &who.realm]);
    let output = gate.run(&all);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}
