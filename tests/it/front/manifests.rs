//! What in `deploy/` no test can run is held against its schema.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::program::Program;
use crate::harness::{get, stderr, stdout};

#[test]
fn compose_file_and_kubernetes_manifests_fit_their_schemas() {
    let middlewares = checked();
    // Traefik reads no key that it does not know: with one, there is no router, and a 404.
    let running = Program::Traefik.start_with(&[("dynamic.yml", &middlewares)]);
    let reply = get(running.address, "/", "");
    assert_eq!(reply.status, 500, "{}", running.log());
}

/// Checks all, and returns a dynamic configuration of Traefik's with the Middlewares in use.
fn checked() -> String {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(project.join("target/tools/bin/python"))
        .arg(project.join("tests/it/front/manifests.py"))
        .arg(project.join("deploy"))
        .output()
        .unwrap_or_else(|error| panic!("python: {error}; run scripts/setup test"));
    assert!(output.status.success(), "{}", stderr(&output));
    let routers = fs::read_to_string(project.join("deploy/traefik/dynamic.yml")).unwrap();
    let (routers, rest) = routers.split_once("  middlewares:\n").unwrap();
    let (_, services) = rest.split_once("  services:\n").unwrap();
    let middlewares = stdout(&output);
    let (_, middlewares) = middlewares.split_once("http:\n").unwrap();
    format!("{routers}{middlewares}  services:\n{services}")
}
