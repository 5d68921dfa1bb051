//! Clients that occupy the gRPC listener.

use super::*;

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

fn gate(more: &str) -> (Gate, SocketAddr) {
    let environment = [("REALMGATE_GRPC_LISTEN", "127.0.0.1:0")];
    let gate = Gate::start_with(&environment, more);
    let address = gate.grpc.unwrap();
    (gate, address)
}

#[test]
fn connection_of_a_stranger_is_closed_at_once() {
    let (gate, address) = gate("");
    let mut stream = connect(CLIENT, address);
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    assert!(gate.log().contains("untrusted_proxy"));
}

#[test]
fn connection_that_stops_within_the_preface_is_closed() {
    let (_gate, address) = gate("[timeouts]\nheader = \"500ms\"\n");
    for length in [0, 1, 23, 24, 32] {
        let beginning = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let mut stream = connect("127.0.0.1", address);
        stream.write_all(&beginning[..length]).unwrap();
        let ended = stream.read_to_end(&mut Vec::new());
        let is_late = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!ended.is_err_and(is_late), "{length}");
    }
}

#[test]
fn endless_auth_request_is_ended() {
    let (gate, address) = gate("[timeouts]\nbody = \"500ms\"\n");
    let mut stream = frames::connect(address, &[]);
    let mut fields = request("POST", "a", CHECK).to_vec();
    fields.extend([("content-type", "application/grpc"), ("te", "trailers")]);
    let mut bytes = Vec::new();
    frame(&mut bytes, HEADERS, END_HEADERS, 1, &block(&fields));
    frame(&mut bytes, DATA, 0, 1, b"\0\0\0\x10\0begun");
    stream.write_all(&bytes).unwrap();
    let begun = Instant::now();
    loop {
        let frame = frames::read(&mut stream).unwrap();
        if matches!(frame.kind, HEADERS | RST_STREAM) {
            break;
        }
    }
    // The default is longer.
    assert!(begun.elapsed() < PATIENCE);
    assert!(gate.log().contains("body_timeout"));
}
