//! The admin page in a real Chromium, with axe-core for accessibility. Screenshots are in `target/screenshots`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::browser::ADMIN;
use crate::harness::{Gate, stderr};

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
    grids[0].decode().unwrap().1
}

#[test]
fn administrator_works_in_chromium() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = project.join("target/tools");
    let axe = tools.join("axe/node_modules/axe-core/axe.min.js");
    assert!(axe.exists(), "axe-core is missing; run scripts/setup test");
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = Gate::start(&format!(
        "{ADMIN}[audit]\nfile = \"{}\"\n[[route]]\nname = \"app\"\nhost = \"app.example\"\n\
         allow = [{{ realm = \"payments\" }}]\nupstream = \"app\"\n[upstream.app]\npeers = [\"127.0.0.1:9\"]\n",
        log.display()
    ));
    let node = gate.start_beside("");
    let admin = gate.register("root", "ungleich-admin");
    let output = Command::new(tools.join("bin/python"))
        .arg(project.join("tests/it/page/chromium.py"))
        .arg(&axe)
        .arg(project.join("target/screenshots"))
        .arg(format!("http://{}", gate.admin.unwrap()))
        .arg(format!("http://{}", node.service))
        .args([&admin.name, &admin.seed])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("python: {error}; run scripts/setup test"));
    assert!(output.status.success(), "{}", stderr(&output));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read(&seen["qr"]), seen["otpauth"].as_str().unwrap());
    assert!(seen["axe"].as_u64().unwrap() > 0);
}
