//! Real HTTP, gRPC and WebSocket clients. `make clients` runs more of them.

use std::path::Path;
use std::process::Command;

use crate::harness::{stderr, stdout};

#[test]
fn clients_of_curl_python_and_rust_work_as_documented() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = project.join("target/tools");
    for (pins, folder) in [("requirements", "clients"), ("niquests", "niquests")] {
        let wanted = std::fs::read(project.join(format!("tests/clients/{pins}.txt"))).unwrap();
        let installed = std::fs::read(tools.join(folder).join(".pins"));
        assert_eq!(installed.ok(), Some(wanted), "run scripts/setup test");
    }
    let realmgate = env!("CARGO_BIN_EXE_realmgate");
    let output = Command::new(tools.join("clients/bin/python"))
        .arg(project.join("tests/clients/run"))
        .args(["--binary", realmgate])
        .args(["curl", "h2load", "requests", "niquests", "httpx", "aiohttp"])
        .args(["grpcio", "websockets", "reqwest", "hyper", "tonic"])
        .output()
        .unwrap_or_else(|error| panic!("python: {error}; run scripts/setup test"));
    let table = stdout(&output);
    assert!(output.status.success(), "{table}{}", stderr(&output));
    assert_eq!(table.lines().count(), 2 + 11, "{table}");
}
