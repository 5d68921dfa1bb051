//! An upstream that records its requests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{field, read_message};

/// An upstream that records its requests, and echoes them.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        Self::start_slow(Duration::ZERO)
    }

    /// Starts an upstream that waits before each response.
    pub(crate) fn start_slow(delay: Duration) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), delay)
    }

    /// Starts an upstream at a reserved address.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        Self::serve(TcpListener::bind(address).unwrap(), Duration::ZERO)
    }

    fn serve(listener: TcpListener, delay: Duration) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let keep = Arc::clone(&keep);
                thread::spawn(move || answer_all(stream.unwrap(), &keep, delay));
            }
        });
        Self { address, seen }
    }

    /// Returns every request so far: header and body as text.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer_all(mut stream: TcpStream, keep: &Mutex<Vec<String>>, delay: Duration) {
    while let Some(request) = read_message(&mut stream) {
        keep.lock().unwrap().push(request.clone());
        thread::sleep(delay);
        if field(&request, "Upgrade").is_some_and(|it| it.eq_ignore_ascii_case("websocket")) {
            return echo(&mut stream);
        }
        // The headers that the request asks for.
        let head = request.split("\r\n\r\n").next().unwrap();
        let asked = head.lines().filter_map(|line| line.split_once(": "));
        let asked = asked.filter(|(name, _)| name.eq_ignore_ascii_case("x-answer"));
        let more: String = asked.map(|(_, line)| format!("{line}\r\n")).collect();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{more}\r\n",
            request.len()
        );
        if stream
            .write_all(format!("{head}{request}").as_bytes())
            .is_err()
        {
            return;
        }
    }
}

/// Switches to a protocol that echoes every byte. Accepts the sample key of RFC 6455.
fn echo(stream: &mut TcpStream) {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let mut buffer = [0; 4096];
    let mut outcome = stream.write_all(switch.as_bytes());
    while let (Ok(()), Ok(read @ 1..)) = (outcome, stream.read(&mut buffer)) {
        outcome = stream.write_all(&buffer[..read]);
    }
}
