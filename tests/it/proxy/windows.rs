//! Clients that do not read what they asked for, on a connection to a peer that all share.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use http::Response;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::harness::{Gate, get};

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
