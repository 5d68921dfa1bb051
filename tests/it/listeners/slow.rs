//! Clients that read slowly. `timeouts.write` ends those that accept nothing, not those that accept
//! little at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::Gate;
use crate::harness::frames::{
    END_HEADERS, END_STREAM, HEADERS, SETTINGS, WINDOW_UPDATE, begin, block, frame, request,
};
use crate::harness::tape::{Play, Tape};

/// In bytes per second. In the time of `timeouts.write`, far less than a third of a send buffer, which
/// the kernel wants to be free before it takes more.
const RATE: usize = 40_000;
const WRITE: Duration = Duration::from_secs(8);

/// Sends without end.
const ENDLESS: Play = |connection| {
    let end = connection.read_to(0, b"\r\n\r\n").unwrap();
    let is_upgrade = connection.has_before(end, b"websocket");
    connection.write(if is_upgrade {
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    } else {
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n"
    });
    let part = vec![b'x'; 1 << 16];
    while connection.write(&part) {}
    connection.note("cut");
};

/// Connects with a small receive buffer.
fn connect(at: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&at.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(WRITE)).unwrap();
    stream
}

/// Reads at [`RATE`] for longer than `timeouts.write`. Returns the connection, which stays open: the
/// kernel would send what it has buffered after its end too.
fn read_slowly(mut stream: TcpStream) -> TcpStream {
    let began = Instant::now();
    let mut buffer = [0; RATE / 10];
    let mut read = 0;
    while began.elapsed() < 2 * WRITE + Duration::from_secs(2) {
        let due = began.elapsed().as_millis() as usize * RATE / 1000;
        if read >= due {
            thread::sleep(Duration::from_millis(50));
            continue;
        }
        match stream.read(&mut buffer) {
            Ok(more @ 1..) => read += more,
            other => panic!("{other:?} after {read} bytes, {:?}", began.elapsed()),
        }
    }
    stream
}

#[test]
fn client_that_reads_slowly_but_steadily_stays_connected() {
    let tape = Tape::playing(ENDLESS);
    let gate = Gate::start(&format!(
        "h2c = true\n[timeouts]\nwrite = '{}s'\n{}",
        WRITE.as_secs(),
        tape.routes()
    ));
    let at = gate.gateway;
    let get = "GET /public HTTP/1.1\r\nHost: a\r\n";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut clients = Vec::new();
    for more in ["", upgrade] {
        let mut stream = connect(at);
        let request = format!("{get}{more}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        clients.push(stream);
    }
    // The same over HTTP/2, with windows that never hold it back.
    let mut two = begin(connect(at), &[(4, 0x7fff_ffff)]);
    let mut bytes = Vec::new();
    frame(&mut bytes, SETTINGS, 1, 0, b"");
    frame(
        &mut bytes,
        WINDOW_UPDATE,
        0,
        0,
        &0x7fff_0000_u32.to_be_bytes(),
    );
    let fields = request("GET", "a", "/public");
    frame(
        &mut bytes,
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block(&fields),
    );
    two.write_all(&bytes).unwrap();
    clients.push(two);
    let threads = clients
        .into_iter()
        .map(|client| thread::spawn(|| read_slowly(client)));
    let threads = threads.collect::<Vec<_>>();
    let open: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let heard = tape.heard();
    assert_eq!(heard.matches("GET /public ").count(), open.len(), "{heard}");
    assert_eq!(heard.matches("cut").count(), 0, "{heard}{}", gate.log());
}
