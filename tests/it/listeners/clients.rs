//! Clients with certificates.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Open, curl, tls};
use crate::harness::certificate::Ca;
use crate::harness::{
    Gate, PATIENCE, Upstream, field, get, realmgate, routes, stderr, stdout, until,
};
use crate::operation::clock::Clock;

/// A gateway that requests client certificates, and its upstream.
fn start(ca: &Ca, asked: &str) -> (Gate, Upstream) {
    start_as(realmgate(&[]), ca, asked)
}

/// The same with a command that runs realmgate.
fn start_as(command: Command, ca: &Ca, asked: &str) -> (Gate, Upstream) {
    let server = ca.issue("a", "/CN=a", "DNS:a.example");
    let upstream = Upstream::start();
    let rest = format!(
        "[tls]\nclient_ca = '{}'\n{}",
        ca.file(),
        routes(upstream.address)
    );
    let more = format!("client_certificates = '{asked}'\n");
    (
        Gate::start_as(command, &tls(&[&server], &more, &rest)),
        upstream,
    )
}

/// Requests `/public/x` with openssl, which stores or resumes a session in a file. Returns whether
/// the session was resumed; `None` without a response.
fn is_resumed(gate: &Gate, ca: &Ca, args: &[&str]) -> Option<bool> {
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-CAfile",
            &ca.file(),
            "-servername",
            "a.example",
        ])
        .args(["-ign_eof", "-connect", &gate.gateway.to_string()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = b"GET /public/x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let _ = child.stdin.take().unwrap().write_all(request);
    let text = stdout(&child.wait_with_output().unwrap());
    text.contains("HTTP/1.1 200")
        .then(|| text.contains("Reused, TLS"))
}

/// A resumed session is not asked for a certificate, so an expired one would still be accepted.
#[test]
fn session_is_resumed_only_where_no_certificate_is_asked_for() {
    let ca = Ca::new();
    let (cert, key) = ca.issue("client", "/CN=billing", "");
    let folder = tempfile::tempdir().unwrap();
    for (asked, expected) in [("off", true), ("optional", false), ("required", false)] {
        let (gate, _upstream) = start(&ca, asked);
        for version in ["-tls1_2", "-tls1_3"] {
            let session = folder.path().join(format!("{asked}{version}"));
            let session = session.to_str().unwrap();
            let own = ["-cert", &*cert, "-key", &*key, version];
            let first = [&own[..], &["-sess_out", session]].concat();
            assert_eq!(is_resumed(&gate, &ca, &first), Some(false));
            if !std::fs::exists(session).unwrap() {
                // There is no session to resume.
                assert!(!expected, "{asked} {version}");
                continue;
            }
            let again = [&own[..], &["-sess_in", session]].concat();
            let resumed = is_resumed(&gate, &ca, &again);
            assert_eq!(resumed, Some(expected), "{asked} {version}");
        }
    }
}

#[test]
fn certificate_that_expires_ends_its_open_connections_too() {
    let ca = Ca::new();
    let clock = Clock::new();
    let mut command = realmgate(&[]);
    clock.rule(&mut command);
    let (gate, upstream) = start_as(command, &ca, "required");
    let (cert, key) = ca.issue("client", "/CN=billing", "");
    let own = ["-cert", &*cert, "-key", &*key];
    let mut open = Open::new(&ca, "a.example", gate.gateway, &own);
    assert_eq!(open.get("/public/x", ""), "200 OK");
    clock.set("+1d");
    assert_eq!(open.get("/public/x", ""), "200 OK");
    clock.set("+3d");
    let request = b"GET /public/late HTTP/1.1\r\nHost: a.example\r\n\r\n";
    open.input.write_all(request).unwrap();
    while let Ok(line) = open.lines.recv_timeout(PATIENCE) {
        assert!(!line.contains("HTTP/1.1 "), "{line}");
    }
    assert_eq!(is_resumed(&gate, &ca, &own), None);
    assert!(upstream.seen().iter().all(|seen| !seen.contains("late")));
}

#[test]
fn good_certificate_lets_in_and_its_subject_goes_on() {
    let ca = Ca::new();
    let (gate, upstream) = start(&ca, "required");
    let (cert, key) = ca.issue("client", "/O=Payments, Inc.\\/CN=root/CN=billing", "");
    for version in ["--http1.1", "--http2"] {
        let spoofed = [
            "-H",
            "X-Client-Subject: CN=root",
            "-H",
            "X.Client.Subject: CN=root",
        ];
        let args = [&["--cert", &*cert, "--key", &*key, version][..], &spoofed].concat();
        let output = curl(&ca, "a.example", gate.gateway, "/public/x", &args);
        assert!(output.status.success(), "{}", stderr(&output));
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(
            field(&seen, "X-Client-Subject"),
            Some("CN=billing,O=Payments\\,%20Inc./CN\\=root"),
            "{seen}"
        );
        assert!(!seen.contains("CN=root"), "{seen}");
    }
    // The certificate is not a credential.
    let args = ["--cert", &*cert, "--key", &*key];
    let output = curl(&ca, "a.example", gate.gateway, "/x", &args);
    assert_eq!(stdout(&output), "authentication required\n");
}

#[test]
fn no_certificate_and_a_bad_one_are_rejected_where_it_is_required() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (gate, upstream) = start(&ca, "required");
    let began = Instant::now();
    let stranger = other.issue("client", "/CN=billing", "");
    let expired = ca.issue_for("old", "/CN=billing", "", "-1");
    for (cert, key) in [stranger, expired] {
        let args = ["--cert", &*cert, "--key", &*key];
        let output = curl(&ca, "a.example", gate.gateway, "/public/x", &args);
        assert!(!output.status.success());
    }
    assert!(
        !curl(&ca, "a.example", gate.gateway, "/public/x", &[])
            .status
            .success()
    );
    assert!(upstream.seen().is_empty());
    // Each kind is logged at a limited rate, and always counted.
    let again = other.issue("client2", "/CN=billing", "");
    let args = ["--cert", &*again.0, "--key", &*again.1];
    assert!(
        !curl(&ca, "a.example", gate.gateway, "/public/x", &args)
            .status
            .success()
    );
    let log = gate.log();
    let metrics = get(gate.metrics(), "/metrics", "").body;
    for (reason, count) in [("unknown_issuer", 2), ("expired", 1), ("no_certificate", 1)] {
        let reported = format!("reason=\"{reason}\"");
        let lines = log.lines().filter(|line| {
            line.contains("client certificate rejected") && line.contains(&reported)
        });
        // One line in ten seconds.
        let most = began.elapsed().as_secs() / 10 + 1;
        assert!(
            (1..=most).contains(&(lines.count() as u64)),
            "{reason}: {log}"
        );
        let count = format!("realmgate_tls_failures_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&count), "{metrics}");
    }
}

#[test]
fn optional_certificate_must_be_good_if_it_is_given() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (gate, upstream) = start(&ca, "optional");
    let output = curl(
        &ca,
        "a.example",
        gate.gateway,
        "/public/x",
        &["-H", "X-Client-Subject: CN=root"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!upstream.seen()[0].to_lowercase().contains("subject"));
    let (cert, key) = other.issue("client", "/CN=billing", "");
    let args = ["--cert", &*cert, "--key", &*key];
    assert!(
        !curl(&ca, "a.example", gate.gateway, "/public/x", &args)
            .status
            .success()
    );
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn illegal_server_names_log_nothing_and_are_counted() {
    let ca = Ca::new();
    let certificate = ca.issue("a", "/CN=a", "DNS:a.example");
    let gate = Gate::start(&tls(&[&certificate], "", ""));
    for _ in 0..20 {
        let output = Command::new("openssl")
            .args([
                "s_client",
                "-servername",
                "a b",
                "-connect",
                &gate.gateway.to_string(),
            ])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success());
    }
    until("the failures are counted", || {
        let metrics = get(gate.metrics(), "/metrics", "").body;
        metrics.contains("realmgate_tls_failures_total{reason=\"other\"} 20")
    });
    let log = gate.log();
    assert!(!log.to_lowercase().contains("hostname"), "{log}");
}
