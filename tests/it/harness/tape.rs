//! An upstream that records every byte it receives, and responds as specified.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::PATIENCE;

/// Handles a connection.
pub(crate) type Play = fn(&mut Connection);

/// A connection to the upstream. Everything that is read from it is recorded.
pub(crate) struct Connection {
    stream: TcpStream,
    tape: Arc<Mutex<Vec<Vec<u8>>>>,
    index: usize,
}

impl Connection {
    /// Reads until the recording of this connection contains `end` after `from`. Returns the
    /// position after it, or `None` if the connection ends first.
    pub(crate) fn read_to(&mut self, from: usize, end: &[u8]) -> Option<usize> {
        loop {
            if let Some(heard) = self.tape.lock().unwrap()[self.index].get(from..)
                && let Some(at) = heard.windows(end.len()).position(|it| it == end)
            {
                return Some(from + at + end.len());
            }
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer) {
                Ok(read @ 1..) => self.tape.lock().unwrap()[self.index].extend(&buffer[..read]),
                _ => return None,
            }
        }
    }

    /// Returns whether the recording of this connection contains `text` before `end`.
    pub(crate) fn has_before(&self, end: usize, text: &[u8]) -> bool {
        let heard = &self.tape.lock().unwrap()[self.index];
        heard[..end].windows(text.len()).any(|it| it == text)
    }

    /// Sends bytes. Returns whether the peer accepted them.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Adds a word to the recording.
    pub(crate) fn note(&self, word: &str) {
        self.tape.lock().unwrap()[self.index].extend(word.as_bytes());
    }

    /// Reads bytes without recording them. Those recorded after the first header count too.
    pub(crate) fn skip(&mut self, bytes: usize) -> usize {
        let mut skipped = {
            let heard = &self.tape.lock().unwrap()[self.index];
            let head = heard.windows(4).position(|it| it == b"\r\n\r\n");
            head.map_or(0, |head| heard.len() - head - 4)
        };
        let mut buffer = vec![0; 1 << 20];
        while skipped < bytes {
            match self.stream.read(&mut buffer) {
                Ok(read @ 1..) => skipped += read,
                _ => break,
            }
        }
        skipped
    }
}

/// The upstream.
pub(crate) struct Tape {
    pub(crate) address: SocketAddr,
    tape: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tape {
    /// Starts an upstream that responds to each header with 200 and `ok`, and reads everything
    /// after it as the next request.
    pub(crate) fn start() -> Self {
        Self::playing(|connection| {
            let mut from = 0;
            while let Some(end) = connection.read_to(from, b"\r\n\r\n") {
                from = end;
                connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: tape\r\n\r\nok");
            }
        })
    }

    pub(crate) fn playing(play: Play) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tape: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let keep = Arc::clone(&tape);
        thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                keep.lock().unwrap().push(Vec::new());
                let tape = Arc::clone(&keep);
                thread::spawn(move || {
                    let mut connection = Connection {
                        stream,
                        tape,
                        index,
                    };
                    play(&mut connection);
                    let _ = connection.stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, tape }
    }

    /// Returns everything received, one connection after the other.
    pub(crate) fn heard(&self) -> String {
        let tape = self.tape.lock().unwrap();
        String::from_utf8_lossy(&tape.concat()).into_owned()
    }

    /// Returns routes to it: `/public` for anyone, everything else for authenticated principals.
    pub(crate) fn routes(&self) -> String {
        crate::harness::routes(self.address)
    }
}
