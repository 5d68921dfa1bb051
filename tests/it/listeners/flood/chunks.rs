//! A client that sends tiny chunks without a pause, as a body that realmgate discards.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::harness::{Gate, PATIENCE};

use super::{CLIENT, OTHER, connect, get};

/// One event loop for all connections.
const ONE_LOOP: &str = "[server]\nthreads = 1\n";

/// Sends a body of such chunks until the connection is cut off. Counts the bytes in `sent`.
fn flood(to: SocketAddr, chunk: &[u8], most: usize, sent: &Arc<AtomicUsize>) -> JoinHandle<()> {
    let piece = chunk.repeat((1 << 14) / chunk.len() + 1);
    let sent = Arc::clone(sent);
    thread::spawn(move || {
        let mut stream = connect(CLIENT, to);
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(
                b"POST /forward-auth HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .unwrap();
        let began = Instant::now();
        while sent.load(Ordering::Relaxed) < most && began.elapsed() < 2 * PATIENCE {
            match stream.write_all(&piece) {
                Ok(()) => sent.fetch_add(piece.len(), Ordering::Relaxed),
                Err(error) => {
                    assert_ne!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock,
                        "never cut off"
                    );
                    return;
                }
            };
        }
        panic!("never cut off");
    })
}

#[test]
fn others_are_served_and_the_flood_is_cut_at_the_deadline() {
    let gate = Gate::start(&format!(
        "[limits]\ndrain_bytes = 1073741824\n[timeouts]\ndrain = '2s'\n{ONE_LOOP}"
    ));
    for address in [gate.service, gate.metrics()] {
        let sent = Arc::default();
        let flood = flood(address, b"1\r\na\r\n", usize::MAX, &sent);
        while sent.load(Ordering::Relaxed) < 1 << 18 {
            assert!(!flood.is_finished(), "cut off too early");
        }
        let mut during = 0;
        while !flood.is_finished() {
            assert_eq!(get(OTHER, gate.service, "/healthz").status, 200);
            during += 1;
        }
        flood.join().unwrap();
        assert!(during >= 5, "{during} responses during the flood");
    }
}

#[test]
fn chunks_count_with_their_framing() {
    let gate = Gate::start(&format!(
        "[limits]\ndrain_bytes = 1000000\n[timeouts]\ndrain = '1h'\n{ONE_LOOP}"
    ));
    let zeros = format!("{}1\r\na\r\n", "0".repeat(1000));
    // A megabyte of payload has 500 MB or more of framing with the first, 5 MB with the second.
    for (chunk, most) in [
        (zeros.as_bytes(), 100 << 20),
        (&b"1\r\na\r\n"[..], 100 << 20),
    ] {
        let sent = Arc::default();
        flood(gate.service, chunk, most, &sent).join().unwrap();
    }
    assert_eq!(get(OTHER, gate.service, "/healthz").status, 200);
}
