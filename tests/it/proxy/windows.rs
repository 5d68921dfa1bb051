//! Clients that do not read their responses, on a shared connection to a peer.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::harness::tape::Tape;
use crate::harness::{Gate, PATIENCE, get, raw, until};

/// An HTTP/2 peer that responds to `/big` with 32 MiB, and to all other requests briefly.
fn peer(runtime: &Runtime) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let body = match request.uri().path() {
                        "/big" => Bytes::from(vec![b'x'; 32 << 20]),
                        _ => Bytes::from_static(b"short"),
                    };
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    let _ = stream.send_data(body, true);
                }
            });
        }
    });
    address
}

#[test]
fn unread_responses_delay_no_other() {
    let runtime = Runtime::new().unwrap();
    let address = peer(&runtime);
    let gate = Gate::start(&format!(
        "[[route]]\nname = \"all\"\nallow = \"anyone\"\nupstream = \"app\"\n\
         [upstream.app]\npeers = [\"{address}\"]\nhttp = \"2\"\n"
    ));
    let unread: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(gate.gateway).unwrap();
            stream
                .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    // Each has as much in flight as its window allows.
    for stream in &unread {
        let mut byte = [0];
        assert_eq!(stream.peek(&mut byte).unwrap(), 1);
    }
    for _ in 0..20 {
        let reply = get(gate.gateway, "/short", "");
        assert_eq!(reply.status, 200);
        assert!(reply.body.contains("short"), "{}", reply.body);
    }
}

/// An HTTP/2 peer that buffers the body of `/stuck` without opening the window, and responds to all
/// other requests with the length of their body. Returns the bytes received for `/stuck`.
fn stuck(runtime: &Runtime) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let counted = Arc::clone(&counted);
                    tokio::spawn(async move {
                        let is_stuck = request.uri().path() == "/stuck";
                        let mut body = request.into_body();
                        let mut length = 0;
                        while let Some(Ok(part)) = body.data().await {
                            length += part.len();
                            if is_stuck {
                                counted.fetch_add(part.len(), Ordering::SeqCst);
                            } else {
                                body.flow_control().release_capacity(part.len()).unwrap();
                            }
                        }
                        if is_stuck {
                            return;
                        }
                        let mut stream = respond.send_response(Response::new(()), false).unwrap();
                        let _ = stream.send_data(length.to_string().into(), true);
                    });
                }
            });
        }
    });
    (address, came)
}

#[test]
fn upload_that_a_peer_does_not_read_holds_up_no_other() {
    let runtime = Runtime::new().unwrap();
    let (address, came) = stuck(&runtime);
    let gate = Gate::start(&format!(
        "[[route]]\nname = \"all\"\nallow = \"anyone\"\nupstream = \"app\"\n\
         [upstream.app]\npeers = [\"{address}\"]\nhttp = \"2\"\nread_timeout = \"1h\"\nwrite_timeout = \"1h\"\n"
    ));
    let mut uploads = Vec::new();
    // Long, chunked and short bodies.
    for (framing, body) in [
        ("Content-Length: 200000", "x".repeat(200_000)),
        (
            "Transfer-Encoding: chunked",
            format!("30d40\r\n{}\r\n", "x".repeat(200_000)),
        ),
        ("Content-Length: 500", "x".repeat(500)),
    ] {
        let mut stream = TcpStream::connect(gate.gateway).unwrap();
        let head = format!("POST /stuck HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        uploads.push(stream);
    }
    // Both windows of the first two are used up (RFC 9113 §6.9.2).
    until("the uploads stand still", || {
        came.load(Ordering::SeqCst) >= 2 * 65_535 + 500
    });
    for length in [1, 500, 513, 300_000] {
        for _ in 0..5 {
            let request = format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{}",
                "x".repeat(length)
            );
            let reply = raw(gate.gateway, request.as_bytes());
            assert_eq!(reply.status, 200, "{length} {reply:?}");
            assert!(reply.body.contains(&length.to_string()), "{reply:?}");
        }
    }
}

/// A peer that reads a header, and nothing of the body.
#[test]
fn http2_client_that_leaves_an_unread_body_is_no_longer_counted() {
    let tape = Tape::playing(|connection| {
        connection.read_to(0, b"\r\n\r\n");
        std::thread::sleep(PATIENCE * 2);
    });
    let gate = Gate::start(&format!(
        "h2c = true\n{}write_timeout = '1h'\nread_timeout = '1h'\n",
        tape.routes()
    ));
    let under_way = |count: usize| {
        let metrics = get(gate.metrics(), "/metrics", "").body;
        metrics.contains(&format!("\nrealmgate_requests_in_flight {count}\n"))
    };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gate.gateway).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        let request = Request::post("http://a/public").body(()).unwrap();
        let (_answer, mut body) = client.send_request(request, false).unwrap();
        // Until nothing moves any more.
        loop {
            body.reserve_capacity(1 << 16);
            let room = std::future::poll_fn(|context| body.poll_capacity(context));
            match tokio::time::timeout(Duration::from_secs(1), room).await {
                Ok(room) => {
                    let part = Bytes::from(vec![b'x'; room.unwrap().unwrap()]);
                    body.send_data(part, false).unwrap();
                }
                Err(_) => break,
            }
        }
        assert!(under_way(1));
        connection.abort();
    });
    drop(runtime);
    until("it is not counted", || under_way(0));
}
