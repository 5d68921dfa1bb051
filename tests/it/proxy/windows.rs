//! Clients that do not read what they asked for, on a connection to a peer that all share.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Response;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::harness::{Gate, get, raw, until};

/// A peer of HTTP/2 that answers `/big` with 32 MiB, and all others shortly.
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
fn answers_that_nobody_reads_hold_up_no_other() {
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
    // Each has as much under way as it may have.
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

/// A peer of HTTP/2 that takes in what is sent to `/stuck` and lets nobody send more; it answers all others with
/// the length of their body. Returns how much has come to `/stuck`.
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
    // Long, in chunks and short ones.
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
