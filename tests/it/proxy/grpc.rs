//! gRPC end to end, with a real Python client and server.

use crate::harness::program::{Script, python};
use crate::harness::{Gate, stderr, stdout};

const SCRIPT: &str = "tests/it/proxy/grpc_calls.py";

#[test]
fn calls_streams_and_trailers_go_through() {
    let server = Script::serve(SCRIPT);
    let gate = Gate::start(&format!(
        "h2c = true\n[[route]]\nname = 'all'\nallow = 'authenticated'\nupstream = 'app'\n\
         [upstream.app]\npeers = ['127.0.0.1:{}']\nhttp = '2'\n",
        server.port
    ));
    let caller = gate.register("billing", "payments");
    let output = python(SCRIPT)
        .args([
            "call",
            &gate.gateway.to_string(),
            &caller.name,
            &caller.realm,
            &caller.token(),
        ])
        .output()
        .unwrap();
    assert_eq!(
        stdout(&output),
        "good\n",
        "{}{}",
        stderr(&output),
        gate.log()
    );
}
