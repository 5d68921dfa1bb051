//! The 146 cases of h2spec 2.6, a conformance test of HTTP/2 servers, at both listeners. h2spec
//! itself is in no package registry. `cases` has them in its order and with its sections, which
//! are those of RFC 7540 and RFC 7541.

mod cases;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};

use cases::{Case, Step};

use crate::harness::frames::{self, DATA, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS};
use crate::harness::{Gate, Upstream, routes};

const PRIORITY: u8 = 2;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;

/// The connection to a listener.
struct Peer {
    stream: TcpStream,
    /// Streams that have ended, or been reset with this code.
    ended: BTreeMap<u32, Option<u32>>,
    /// Whether the server has closed the connection.
    has_ended: bool,
}

/// What a step waits for, or what else happened.
#[derive(Debug, PartialEq)]
enum Seen {
    Expected,
    /// GOAWAY with this code.
    GoAway(u32),
    /// The end of the connection.
    End,
    /// The reset of a stream that a step does not wait for.
    Reset(u32),
}

impl Peer {
    fn connect(address: SocketAddr) -> Self {
        Self {
            stream: frames::connect(address, &[]),
            ended: BTreeMap::new(),
            has_ended: false,
        }
    }

    /// Reads frames until one that `is_expected`.
    fn wait(&mut self, is_expected: impl Fn(&frames::Frame) -> bool) -> Seen {
        while let Some(frame) = frames::read(&mut self.stream) {
            let code = |at: usize| {
                let bytes = frame.payload.get(at..at + 4);
                bytes.map_or(0, |it| u32::from_be_bytes(it.try_into().unwrap()))
            };
            if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                self.ended.insert(frame.stream, None);
            }
            if frame.kind == RST_STREAM {
                self.ended.insert(frame.stream, Some(code(0)));
            }
            if is_expected(&frame) {
                return Seen::Expected;
            }
            if frame.kind == GOAWAY {
                return Seen::GoAway(code(4));
            }
            if frame.kind == RST_STREAM {
                return Seen::Reset(code(0));
            }
        }
        // Otherwise nothing has come for a while.
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        self.has_ended = !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock);
        Seen::End
    }

    /// Takes a step. Returns what happened instead of what it waits for.
    fn take(&mut self, step: &Step) -> Result<(), Seen> {
        let seen = match step {
            Step::Send(bytes) => {
                // A peer that has rejected something may be gone.
                let _ = self.stream.write_all(bytes);
                return Ok(());
            }
            Step::Settings => self.wait(|it| it.kind == SETTINGS && it.flags == 0),
            Step::Acked => self.wait(|it| it.kind == SETTINGS && it.flags == ACK),
            Step::Ponged(data) => {
                self.wait(|it| it.kind == PING && it.flags & ACK != 0 && it.payload == data)
            }
            Step::PongedOrEnded(data) => {
                let seen =
                    self.wait(|it| it.kind == PING && it.flags & ACK != 0 && it.payload == data);
                match seen {
                    Seen::GoAway(_) | Seen::End => Seen::Expected,
                    seen => seen,
                }
            }
            Step::Answered => self.wait(|it| it.kind == HEADERS && it.stream == 1),
            Step::Ended => match self.ended.get(&1) {
                Some(None) => Seen::Expected,
                Some(Some(code)) => Seen::Reset(*code),
                None => {
                    self.wait(|it| matches!(it.kind, HEADERS | DATA) && it.flags & END_STREAM != 0)
                }
            },
            Step::Data(length) => self.wait(|it| it.kind == DATA && it.payload.len() == *length),
            Step::SomeData => self.wait(|it| it.kind == DATA),
            Step::Fails(codes) => self.wait_for_failure(codes, false),
            Step::Resets(codes) => self.wait_for_failure(codes, true),
        };
        match seen {
            Seen::Expected => Ok(()),
            seen => Err(seen),
        }
    }

    /// Waits for GOAWAY with one of these codes, or a reset if it may be one, or the end of the
    /// connection, as h2spec does.
    fn wait_for_failure(&mut self, codes: &[u32], may_reset: bool) -> Seen {
        let mut others = Vec::new();
        loop {
            match self.wait(|_| false) {
                Seen::Reset(code) if may_reset && codes.contains(&code) => return Seen::Expected,
                Seen::GoAway(code) if codes.contains(&code) => return Seen::Expected,
                Seen::End if self.has_ended => return Seen::Expected,
                Seen::End => return others.pop().unwrap_or(Seen::End),
                other => others.push(other),
            }
        }
    }
}

/// Runs the cases at an address with this path, and returns those that failed.
fn failures(address: SocketAddr, path: &str) -> Vec<String> {
    let mut failed = Vec::new();
    for Case { name, steps } in cases::all(path) {
        let mut peer = Peer::connect(address);
        for (number, step) in steps.iter().enumerate() {
            if let Err(seen) = peer.take(step) {
                failed.push(format!("{name}: step {}: {seen:?}", number + 1));
                break;
            }
        }
    }
    failed
}

#[test]
fn http2_is_spoken_as_h2spec_expects() {
    let upstream = Upstream::start();
    let gate = Gate::start_with(
        &[("REALMGATE_SERVICE_H2C", "true")],
        &format!("h2c = true\n{}", routes(upstream.address)),
    );
    let count = cases::all("/").len();
    // One is about the preface: a listener for both versions answers that one over HTTP/1.1.
    assert_eq!(count, 145);
    let failed = failures(gate.gateway, "/public");
    assert!(failed.is_empty(), "{failed:#?}");
    let failed = failures(gate.service, "/unknown");
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn preface_that_is_not_that_of_http2_is_a_bad_request() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("h2c = true\n{}", routes(upstream.address)));
    let reply = crate::harness::raw(gate.gateway, b"INVALID CONNECTION PREFACE\r\n\r\n");
    assert_eq!(reply.status, 400);
}
