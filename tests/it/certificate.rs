//! Certificates that sign themselves, made by openssl.

use std::path::Path;
use std::process::Command;

use crate::harness::stderr;

/// Makes a certificate for 127.0.0.1 that signs itself; returns the files of it and of its key.
pub(crate) fn certificate(folder: &Path) -> (String, String) {
    let path = |name| folder.join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .unwrap_or_else(|error| panic!("openssl: {error}; run scripts/setup test"));
    assert!(output.status.success(), "{}", stderr(&output));
    (cert, key)
}
