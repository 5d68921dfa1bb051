//! The admin page in a real Chromium, with axe-core for accessibility. Screenshots are in `target/screenshots`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::browser::ADMIN;
use crate::harness::certificate::certificate;
use crate::harness::{Gate, stderr, stdout};

/// Reads the QR code in a picture of dark and light pixels.
fn read(picture: &Value) -> String {
    let width = usize::try_from(picture["width"].as_u64().unwrap()).unwrap();
    let pixels = picture["dark"].as_str().unwrap().as_bytes();
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(width, pixels.len() / width, |x, y| {
            if pixels[y * width + x] == b'1' {
                0
            } else {
                255
            }
        });
    let grids = image.detect_grids();
    let height = pixels.len() / width;
    assert_eq!(
        grids.len(),
        1,
        "QR codes in the screenshot of {width} by {height}"
    );
    grids[0].decode().unwrap().1
}

#[test]
fn administrator_works_in_chromium() {
    work(ADMIN, "target/screenshots", "http", "");
}

#[test]
fn administrator_works_in_chromium_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    // Chromium accepts this certificate only, and no other that it cannot verify.
    let digest = "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform der \
        | openssl dgst -sha256 -binary | openssl base64";
    let output = Command::new("sh").args(["-c", digest, &cert]).output();
    let output = output.unwrap();
    let flag = format!(
        "--ignore-certificate-errors-spki-list={}",
        stdout(&output).trim()
    );
    let config =
        format!("[[certificate]]\ncert = \"{cert}\"\nkey = \"{key}\"\n{ADMIN}tls = true\n");
    work(&config, "target/screenshots/tls", "https", &flag);
}

/// Does what an administrator does, and makes screenshots.
fn work(config: &str, screenshots: &str, scheme: &str, flags: &str) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = project.join("target/tools");
    let axe = tools.join("axe/node_modules/axe-core/axe.min.js");
    assert!(axe.exists(), "axe-core is missing; run scripts/setup test");
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = Gate::start(&format!(
        "{config}[audit]\nfile = \"{}\"\n[[route]]\nname = \"app\"\nhost = \"app.example\"\n\
         allow = [{{ realm = \"payments\" }}]\nupstream = \"app\"\n[upstream.app]\npeers = [\"127.0.0.1:9\"]\n",
        log.display()
    ));
    let node = gate.start_beside("");
    let admin = gate.register("root", "ungleich-admin");
    let output = Command::new(tools.join("bin/python"))
        .arg(project.join("tests/it/page/chromium.py"))
        .arg(&axe)
        .arg(project.join(screenshots))
        .arg(format!("{scheme}://{}", gate.admin.unwrap()))
        .arg(format!("http://{}", node.service))
        .args([&admin.name, &admin.seed])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("CHROMIUM_FLAGS", flags)
        .output()
        .unwrap_or_else(|error| panic!("python: {error}; run scripts/setup test"));
    assert!(output.status.success(), "{}", stderr(&output));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read(&seen["qr"]), seen["otpauth"].as_str().unwrap());
    assert!(seen["axe"].as_u64().unwrap() > 0);
}
