//! Front proxies that receive responses other than a permit.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::Program;
use crate::harness::{PATIENCE, Upstream, get};

const CLAIM: &str = "X-Auth-Name: root\r\nContent-Length: 0\r\n\r\n";

/// realmgate fails, or another program responds at its address.
pub(super) fn response_that_is_no_permit_lets_nothing_pass(program: Program) {
    let app = Upstream::start();
    let broken = Broken::start();
    let front = program.start(broken.address, app.address, |text| text);
    let fields = "X-Auth-Name: billing\r\nX-Auth-Realm: payments\r\nX-Auth-Token: 123456\r\n";
    for answer in [
        String::new(),
        "\r\n\r\n".to_owned(),
        "no HTTP\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-".to_owned(),
        "HTTP/1.1 200 OK\r\nX-Auth-Name root\r\n".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        format!("HTTP/1.1 302 Found\r\nLocation: /public\r\n{CLAIM}"),
        format!("HTTP/1.1 400 Bad Request\r\n{CLAIM}"),
        format!("HTTP/1.1 401 Unauthorized\r\n{CLAIM}"),
        format!("HTTP/1.1 403 Forbidden\r\n{CLAIM}"),
        format!("HTTP/1.1 404 Not Found\r\n{CLAIM}"),
        format!("HTTP/1.1 429 Too Many Requests\r\n{CLAIM}"),
        format!("HTTP/1.1 500 Internal Server Error\r\n{CLAIM}"),
        format!("HTTP/1.1 503 Service Unavailable\r\n{CLAIM}"),
    ] {
        broken.answer.lock().unwrap().clone_from(&answer);
        let reply = get(front.address, "/api", fields);
        assert!(!(200..300).contains(&reply.status), "{answer:?}: {reply:?}");
        assert!(app.seen().is_empty(), "{answer:?}: {:?}", app.seen());
    }
}

/// Responds to every request with the same bytes, and closes the connection.
struct Broken {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
}

impl Broken {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned();
        let answer = Arc::new(Mutex::new(refusal));
        let shared = Arc::clone(&answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let answer = Arc::clone(&shared);
                thread::spawn(move || reply(stream.unwrap(), &answer));
            }
        });
        Self { address, answer }
    }
}

fn reply(mut stream: TcpStream, answer: &Mutex<String>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    let answer = answer.lock().unwrap().clone();
    let _ = stream.write_all(answer.as_bytes());
}
