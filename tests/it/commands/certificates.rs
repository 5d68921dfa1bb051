//! What `check` says of certificates and keys that cannot be used: the cause, and a command that mends it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::certificate::Ca;
use crate::harness::{realmgate, stderr};

/// Runs openssl in a folder.
fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl")
        .args(line.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", stderr(&output));
}

/// Makes a key with openssl's words for it, and a certificate of its own.
fn pair(folder: &Path, name: &str, kind: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 -days 2 -nodes -subj /CN=a -newkey {kind} -keyout {name}.key -out {name}.pem"
        ),
    );
}

/// Checks a configuration with a certificate and a key; returns whether it is valid, and standard error.
fn check(folder: &Path, cert: &str, key: &str) -> (bool, String) {
    let config = folder.join("realmgate.toml");
    fs::write(
        &config,
        format!(
            "[[certificate]]\ncert = {:?}\nkey = {:?}\n",
            folder.join(cert),
            folder.join(key)
        ),
    )
    .unwrap();
    let output = realmgate(&["check", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    (output.status.success(), stderr(&output))
}

/// Runs the command that a message recommends, in a shell, with a name for the new file.
fn mend(folder: &Path, message: &str, new: &str) {
    let (_, command) = message.rsplit_once("with: ").unwrap();
    let command = command.trim_end().trim_end_matches(')');
    let command = command.replace("NEW_FILE", &folder.join(new).display().to_string());
    let output = Command::new("sh")
        .args(["-c", &command])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", stderr(&output));
}

#[test]
fn supported_keys_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    for (name, kind) in [
        ("rsa", "rsa:2048"),
        ("p256", "ec -pkeyopt ec_paramgen_curve:P-256"),
        ("p384", "ec -pkeyopt ec_paramgen_curve:P-384"),
        ("ed25519", "ed25519"),
    ] {
        pair(folder.path(), name, kind);
        let (is_valid, message) = check(
            folder.path(),
            &format!("{name}.pem"),
            &format!("{name}.key"),
        );
        assert!(is_valid, "{kind}: {message}");
    }
}

#[test]
fn unsupported_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, kind, expected) in [
        (
            "p521",
            "ec -pkeyopt ec_paramgen_curve:P-521",
            "an ECDSA key on P-521",
        ),
        ("small", "rsa:1024", "an RSA key of 1024 bits"),
    ] {
        pair(folder.path(), name, kind);
        let (is_valid, message) = check(
            folder.path(),
            &format!("{name}.pem"),
            &format!("{name}.key"),
        );
        assert!(!is_valid);
        assert!(
            message.contains(&format!(
                "certificate[0].cert = \"{}\": expected a certificate with a supported key: RSA of 2048 to 8192 bits, \
                 ECDSA on P-256 or P-384, and Ed25519 (it has {expected};",
                folder.path().join(format!("{name}.pem")).display()
            )),
            "{message}"
        );
    }
}

#[test]
fn encrypted_key_is_decrypted_with_the_command_of_the_message() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pair(folder, "a", "rsa:2048");
    for (file, line) in [
        (
            "pkcs8.key",
            "pkcs8 -topk8 -in a.key -passout pass:secret -out pkcs8.key",
        ),
        (
            "old.key",
            "rsa -traditional -aes128 -in a.key -passout pass:secret -out old.key",
        ),
    ] {
        openssl(folder, line);
        let (is_valid, message) = check(folder, "a.pem", file);
        assert!(!is_valid);
        assert!(
            message.contains("(it is encrypted; decrypt it with: openssl pkey -in"),
            "{message}"
        );
        // The operator is asked for the password.
        mend(
            folder,
            &message.replace("-out", "-passin pass:secret -out"),
            "plain.key",
        );
        let (is_valid, message) = check(folder, "a.pem", "plain.key");
        assert!(is_valid, "{message}");
        fs::remove_file(folder.join("plain.key")).unwrap();
    }
}

#[test]
fn other_encodings_are_converted_with_the_command_of_the_message() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pair(folder, "a", "rsa:2048");
    openssl(folder, "x509 -in a.pem -outform DER -out der.pem");
    openssl(folder, "pkey -in a.key -outform DER -out der.key");
    openssl(
        folder,
        "pkcs12 -export -in a.pem -inkey a.key -passout pass: -out both.p12",
    );
    for (cert, key, expected) in [
        (
            "der.pem",
            "a.key",
            "(it is DER; convert it with: openssl x509",
        ),
        (
            "a.pem",
            "der.key",
            "(it is DER; convert it with: openssl pkey",
        ),
        (
            "both.p12",
            "a.key",
            "(it is PKCS #12; convert it with: openssl pkcs12",
        ),
    ] {
        let (is_valid, message) = check(folder, cert, key);
        assert!(!is_valid);
        assert!(message.contains(expected), "{message}");
        mend(
            folder,
            &message.replace("-nodes", "-nodes -passin pass:"),
            "new.pem",
        );
        let (cert, key) = match cert {
            "a.pem" => (cert, "new.pem"),
            _ => ("new.pem", key),
        };
        let (is_valid, message) = check(folder, cert, key);
        assert!(is_valid, "{message}");
    }
}

#[test]
fn byte_order_mark_is_removed_with_the_command_of_the_message() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pair(folder, "a", "rsa:2048");
    for file in ["a.pem", "a.key"] {
        let path = folder.join(file);
        let text = [b"\xEF\xBB\xBF", &*fs::read(&path).unwrap()].concat();
        fs::write(&path, text).unwrap();
        let (is_valid, message) = check(folder, "a.pem", "a.key");
        assert!(!is_valid);
        assert!(
            message.contains("(it begins with a byte order mark; remove it with: sed"),
            "{message}"
        );
        mend(folder, &message, "");
        let (is_valid, message) = check(folder, "a.pem", "a.key");
        assert!(is_valid, "{message}");
    }
}

#[test]
fn chain_in_the_wrong_order_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (ca, other) = (Ca::new(), Ca::new());
    let (cert, key) = ca.issue("leaf", "/CN=leaf", "DNS:a.example");
    let text = |path: &str| fs::read_to_string(path).unwrap();
    fs::write(folder.join("a.key"), text(&key)).unwrap();
    let write = |name: &str, parts: &[&str]| {
        let parts: Vec<_> = parts.iter().map(|part| text(part)).collect();
        fs::write(folder.join(name), parts.concat()).unwrap();
    };
    write("reversed.pem", &[&ca.file(), &cert]);
    let (is_valid, message) = check(folder, "reversed.pem", "a.key");
    assert!(!is_valid);
    assert!(
        message.contains("the key belongs to certificate 2 of the file; put that one first"),
        "{message}"
    );
    write("good.pem", &[&cert, &ca.file()]);
    let (is_valid, message) = check(folder, "good.pem", "a.key");
    assert!(is_valid, "{message}");
    assert!(!message.contains("did not issue"), "{message}");
    write(
        "stranger.pem",
        &[&other.issue("x", "/CN=x", "DNS:x").0, &cert],
    );
    let (is_valid, message) = check(folder, "stranger.pem", "a.key");
    assert!(!is_valid, "{message}");
}

#[test]
fn key_in_place_of_a_certificate_is_named() {
    let folder = tempfile::tempdir().unwrap();
    pair(folder.path(), "a", "rsa:2048");
    let (_, message) = check(folder.path(), "a.key", "a.pem");
    assert!(
        message.contains("a PEM file of certificates (it holds a private key)"),
        "{message}"
    );
    assert!(
        message.contains("a PEM file of a private key (it holds a certificate)"),
        "{message}"
    );
    assert!(!message.contains("PRIVATE KEY"), "{message}");
}

#[test]
fn damaged_certificate_anywhere_in_a_chain_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ca = Ca::new();
    let (cert, key) = ca.issue("leaf", "/CN=leaf", "DNS:a.example");
    let text = |path: &str| fs::read_to_string(path).unwrap();
    let damaged = |path: &str| text(path).replacen("\nMII", "\nMXX", 1);
    fs::write(folder.join("a.key"), text(&key)).unwrap();
    for (chain, which) in [
        ([text(&cert), damaged(&ca.file())], "certificate 2 of 2"),
        ([damaged(&cert), text(&ca.file())], "certificate 1 of 2"),
    ] {
        fs::write(folder.join("chain.pem"), chain.concat()).unwrap();
        let (is_valid, message) = check(folder, "chain.pem", "a.key");
        assert!(!is_valid);
        let expected = format!("a PEM file of certificates ({which} in it is damaged)");
        assert!(message.contains(&expected), "{message}");
    }
    let cut = text(&cert).replace("-----END CERTIFICATE-----", "");
    fs::write(folder.join("chain.pem"), cut).unwrap();
    let (_, message) = check(folder, "chain.pem", "a.key");
    assert!(
        message.contains("(the line -----END CERTIFICATE----- is missing)"),
        "{message}"
    );
}

#[test]
fn certificate_without_names_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pair(folder, "a", "rsa:2048");
    let (is_valid, message) = check(folder, "a.pem", "a.key");
    assert!(is_valid, "{message}");
    assert!(
        message.contains("the certificate has no subjectAltName, so that clients reject it"),
        "{message}"
    );
    let ca = Ca::new();
    let (cert, key) = ca.issue("leaf", "/CN=leaf", "DNS:a.example");
    fs::copy(cert, folder.join("b.pem")).unwrap();
    fs::copy(key, folder.join("b.key")).unwrap();
    let (is_valid, message) = check(folder, "b.pem", "b.key");
    assert!(is_valid, "{message}");
    assert!(!message.contains("subjectAltName"), "{message}");
}
