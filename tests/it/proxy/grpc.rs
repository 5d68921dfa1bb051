//! gRPC end to end, with a real Python client and server.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Gate, stderr, stdout};

fn python() -> Command {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(project.join("target/tools/bin/python"));
    python.arg(project.join("tests/it/proxy/grpc_calls.py"));
    python
}

#[test]
fn calls_streams_and_trailers_go_through() {
    let mut server = python()
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("python: {error}; run scripts/setup test"));
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut port)
        .unwrap();
    let gate = Gate::start(&format!(
        "h2c = true\n[[route]]\nname = 'all'\nallow = 'authenticated'\nupstream = 'app'\n\
         [upstream.app]\npeers = ['127.0.0.1:{}']\nhttp = '2'\n",
        port.trim()
    ));
    let caller = gate.register("billing", "payments");
    let output = python()
        .args([
            "call",
            &gate.gateway.to_string(),
            &caller.name,
            &caller.realm,
            &caller.token(),
        ])
        .output()
        .unwrap();
    drop(server.stdin.take());
    server.wait().unwrap();
    assert_eq!(
        stdout(&output),
        "good\n",
        "{}{}",
        stderr(&output),
        gate.log()
    );
}
