//! Certificates made by openssl.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::stderr;

/// Makes a self-signed certificate for 127.0.0.1. Returns the paths of the certificate and the key.
pub(crate) fn certificate(folder: &Path) -> (String, String) {
    let path = |name| folder.join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let subject = ["-x509", "-days", "2", "-subj", "/CN=127.0.0.1"];
    let names = ["-addext", "subjectAltName=IP:127.0.0.1"];
    let no_ca = ["-addext", "basicConstraints=critical,CA:FALSE"];
    let files = ["-keyout", &key, "-out", &cert];
    openssl(&[&NEW[..], &subject, &names, &no_ca, &files].concat());
    (cert, key)
}

/// A certificate authority.
pub(crate) struct Ca {
    folder: TempDir,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let ca = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let (cert, key) = (ca.path("ca.pem"), ca.path("ca.key"));
        openssl(
            &[
                &NEW[..],
                &["-x509", "-days", "2", "-subj", "/CN=ca"],
                &["-keyout", &key, "-out", &cert],
            ]
            .concat(),
        );
        ca
    }

    /// Returns the path of the CA certificate.
    pub(crate) fn file(&self) -> String {
        self.path("ca.pem")
    }

    /// Returns the path of the CA key.
    pub(crate) fn key_file(&self) -> String {
        self.path("ca.key")
    }

    /// Issues a certificate for a subject such as `/O=a/CN=b` and, for servers, for names such as
    /// `DNS:a,IP:127.0.0.1`. Returns the paths of the certificate and the key, which begin with
    /// `name`.
    pub(crate) fn issue(&self, name: &str, subject: &str, names: &str) -> (String, String) {
        self.issue_for(name, subject, names, "2")
    }

    /// The same with a validity in days from now; -1 for an expired certificate.
    pub(crate) fn issue_for(
        &self,
        name: &str,
        subject: &str,
        names: &str,
        days: &str,
    ) -> (String, String) {
        let path = |suffix| self.path(&format!("{name}.{suffix}"));
        let (request, cert, key) = (path("csr"), path("pem"), path("key"));
        openssl(
            &[
                &NEW[..],
                &["-subj", subject, "-keyout", &key, "-out", &request],
            ]
            .concat(),
        );
        let extensions = match names {
            "" => "extendedKeyUsage=clientAuth".to_owned(),
            names => format!("subjectAltName={names}"),
        };
        let file = path("ext");
        std::fs::write(&file, extensions).unwrap();
        let (ca, ca_key) = (self.path("ca.pem"), self.path("ca.key"));
        openssl(&[
            "x509",
            "-req",
            "-days",
            days,
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-extfile",
            &file,
            "-out",
            &cert,
        ]);
        (cert, key)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

const NEW: [&str; 7] = [
    "req",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-batch",
];

fn openssl(args: &[&str]) {
    let output = Command::new("openssl")
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("openssl: {error}; run scripts/setup test"));
    assert!(output.status.success(), "{}", stderr(&output));
}
