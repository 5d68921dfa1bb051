//! Clients that prove themselves by a certificate.

use super::{curl, tls};
use crate::certificate::Ca;
use crate::harness::{Gate, Upstream, field, routes, stderr, stdout};

/// A gateway that asks for certificates of clients, and its upstream.
fn start(ca: &Ca, asked: &str) -> (Gate, Upstream) {
    let server = ca.issue("a", "/CN=a", "DNS:a.example");
    let upstream = Upstream::start();
    let rest = format!(
        "[tls]\nclient_ca = '{}'\n{}",
        ca.file(),
        routes(upstream.address)
    );
    let more = format!("client_certificates = '{asked}'\n");
    (Gate::start(&tls(&[&server], &more, &rest)), upstream)
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
    // The certificate is no credential.
    let args = ["--cert", &*cert, "--key", &*key];
    let output = curl(&ca, "a.example", gate.gateway, "/x", &args);
    assert_eq!(stdout(&output), "authentication required\n");
}

#[test]
fn no_certificate_and_a_bad_one_are_refused_where_it_is_required() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (gate, upstream) = start(&ca, "required");
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
