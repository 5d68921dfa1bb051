//! Requests that an HTTP/2 peer reports as unprocessed (RFC 9113 §8.7).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::harness::{Gate, send};

/// How the peer handles the first request; it responds to all others.
#[derive(Clone, Copy)]
enum First {
    Reset(Reason),
    /// Sends GOAWAY with this code.
    Goodbye(Reason),
}

/// An HTTP/2 peer, and the number of requests that it received.
fn peer(runtime: &Runtime, first: First) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&counted);
            match first {
                First::Goodbye(reason) if seen.load(Ordering::SeqCst) == 0 => {
                    goodbye(stream, reason, &seen).await;
                }
                _ => drop(tokio::spawn(serve(stream, first, seen))),
            }
        }
    });
    (address, seen)
}

async fn serve(stream: TcpStream, first: First, seen: Arc<AtomicUsize>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let before = seen.fetch_add(1, Ordering::SeqCst);
        match first {
            First::Reset(reason) if before == 0 => respond.send_reset(reason),
            _ => drop(tokio::spawn(echo(request.into_body(), respond))),
        }
    }
}

async fn echo(mut body: h2::RecvStream, mut respond: SendResponse<Bytes>) {
    let mut whole = Vec::new();
    while let Some(Ok(part)) = body.data().await {
        whole.extend_from_slice(&part);
    }
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    let _ = stream.send_data(whole.into(), true);
}

/// Reads a request, and reports that no stream of the connection was processed.
async fn goodbye(mut stream: TcpStream, reason: Reason, seen: &AtomicUsize) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    stream
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == crate::harness::frames::HEADERS {
            break;
        }
    }
    seen.fetch_add(1, Ordering::SeqCst);
    let mut frame = vec![
        0,
        0,
        8,
        crate::harness::frames::GOAWAY,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    frame.extend(u32::from(reason).to_be_bytes());
    stream.write_all(&frame).await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

#[test]
fn request_that_was_not_processed_is_sent_again() {
    let runtime = Runtime::new().unwrap();
    for first in [
        First::Reset(Reason::REFUSED_STREAM),
        First::Goodbye(Reason::NO_ERROR),
        First::Goodbye(Reason::ENHANCE_YOUR_CALM),
    ] {
        let (address, seen) = peer(&runtime, first);
        let gate = gate(address);
        let reply = send(gate.gateway, "POST", "/x", "", "body");
        assert_eq!(
            (reply.status, &*reply.body),
            (200, "4\r\nbody\r\n0\r\n\r\n"),
            "{}",
            gate.log()
        );
        assert_eq!(seen.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn request_that_may_have_been_processed_is_not_sent_again() {
    let runtime = Runtime::new().unwrap();
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::NO_ERROR] {
        let (address, seen) = peer(&runtime, First::Reset(reason));
        let gate = gate(address);
        assert_eq!(send(gate.gateway, "POST", "/x", "", "body").status, 502);
        assert_eq!(seen.load(Ordering::SeqCst), 1);
    }
}

fn gate(peer: SocketAddr) -> Gate {
    Gate::start(&format!(
        "[[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'app'\n\
         [upstream.app]\npeers = ['{peer}']\nhttp = '2'\n"
    ))
}
