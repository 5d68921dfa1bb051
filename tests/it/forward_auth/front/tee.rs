//! Records the auth requests between a front proxy and realmgate.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The recorded bytes.
#[derive(Default)]
struct Seen {
    connections: usize,
    asked: Vec<u8>,
}

/// A recording relay.
pub(super) struct Tee {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Tee {
    pub(super) fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let keep = Arc::clone(&seen);
        thread::spawn(move || {
            for front in listener.incoming() {
                let front = front.unwrap();
                // Without realmgate, connections fail as they would without the relay.
                let Ok(back) = TcpStream::connect(to) else {
                    continue;
                };
                keep.lock().unwrap().connections += 1;
                let keep = Arc::clone(&keep);
                let (from_front, to_front) = (front.try_clone().unwrap(), front);
                let (from_back, to_back) = (back.try_clone().unwrap(), back);
                thread::spawn(move || {
                    pass(from_front, to_back, |bytes| {
                        keep.lock().unwrap().asked.extend_from_slice(bytes);
                    });
                });
                thread::spawn(move || pass(from_back, to_front, |_| ()));
            }
        });
        Self { address, seen }
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Returns the auth requests since the last call.
    pub(super) fn take(&self) -> String {
        let bytes = std::mem::take(&mut self.seen.lock().unwrap().asked);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        let bytes = &buffer[..read];
        note(bytes);
        if read == 0 || to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
