//! Responses that do not wait for the request body.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use socket2::{Domain, Socket, Type};

use crate::harness::tape::Tape;
use crate::harness::{Gate, PATIENCE, parse, raw, stdout};

const MEGABYTE: usize = 1024 * 1024;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn denied_upload_gets_its_response_and_no_reset() {
    let tape = Tape::start();
    let gate = Gate::start(&format!("[timeouts]\ndrain = \"1m\"\n{}", tape.routes()));
    let chunked = "Transfer-Encoding: chunked";
    let announced = format!("Content-Length: {}", 5 * MEGABYTE);
    for framing in [chunked, &announced] {
        let mut stream = connect(gate.gateway);
        let head = format!("POST /upload HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A client that sends everything before it reads, with pauses.
        for _ in 0..20 {
            let part = vec![b'y'; 5 * MEGABYTE / 20];
            let mut bytes = part.clone();
            if framing == chunked {
                bytes = format!("{:x}\r\n", part.len()).into_bytes();
                bytes.extend(&part);
                bytes.extend(b"\r\n");
            }
            stream.write_all(&bytes).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
        if framing == chunked {
            stream.write_all(b"0\r\n\r\n").unwrap();
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let reply = parse(&answer);
        assert_eq!(
            (reply.status, reply.field("Connection")),
            (401, Some("close"))
        );
        assert_eq!(reply.body, "authentication required\n");
    }
    assert_eq!(tape.heard(), "");
}

/// Uploads without a credential over HTTP/2, with a client that sends everything before it reads.
/// Returns the status, and the reason of a reset during the upload.
fn upload_over_http2(
    address: SocketAddr,
    path: &str,
    size: usize,
) -> (Option<u16>, Option<h2::Reason>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let uri = format!("http://a{path}");
        let request = http::Request::post(uri).body(()).unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        let mut left = size;
        while left > 0 {
            body.reserve_capacity(left.min(64 << 10));
            let capacity = poll_fn(|context| body.poll_capacity(context)).await;
            let Some(Ok(capacity)) = capacity else {
                break;
            };
            let part = capacity.min(left);
            left -= part;
            let part = bytes::Bytes::from(vec![b'y'; part]);
            if body.send_data(part, left == 0).is_err() {
                break;
            }
        }
        let reset = match left {
            0 => None,
            _ => poll_fn(|context| body.poll_reset(context)).await.ok(),
        };
        let status = answer.await.ok().map(|it| it.status().as_u16());
        (status, reset)
    })
}

#[test]
fn denied_upload_over_http2_is_read_and_not_reset() {
    let tape = Tape::start();
    let h2c = "h2c = true\n";
    let gate = Gate::start(&format!("{h2c}{}", tape.routes()));
    let size = 5 * MEGABYTE;
    for _ in 0..3 {
        let upload = upload_over_http2(gate.gateway, "/upload", size);
        assert_eq!(upload, (Some(401), None));
    }
    assert_eq!(tape.heard(), "");
}

#[test]
fn denied_upload_over_http2_ends_at_the_limit() {
    let tape = Tape::start();
    let limits = "h2c = true\n[limits]\nconnections = 100\nrequests = 100\ndrain_bytes = 1048576\n";
    let gate = Gate::start(&format!("{limits}{}", tape.routes()));
    let (_, reset) = upload_over_http2(gate.gateway, "/upload", 50 * MEGABYTE);
    assert_eq!(reset, Some(h2::Reason::NO_ERROR));
}

#[test]
fn curl_sees_the_denial_of_its_upload() {
    let tape = Tape::start();
    let gate = Gate::start(&tape.routes());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("upload");
    fs::write(&file, vec![b'y'; 5 * MEGABYTE]).unwrap();
    for more in [
        &["-H", "Expect:"][..],
        &[],
        &["-H", "Transfer-Encoding: chunked"],
    ] {
        let output = Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                "20",
                "-w",
                "%{http_code}",
                "-o",
                "/dev/null",
                "-T",
            ])
            .arg(&file)
            .args(more)
            .arg(format!("http://{}/upload", gate.gateway))
            .output()
            .unwrap();
        assert!(output.status.success(), "{more:?}: {output:?}");
        assert_eq!(stdout(&output), "401", "{more:?}");
    }
    assert_eq!(tape.heard(), "");
}

#[test]
fn body_too_long_for_the_rest_api_gets_its_response() {
    let gate = Gate::start("");
    let body = "y".repeat(MEGABYTE);
    let request = format!(
        "POST /ungleichotp/verify/ HTTP/1.1\r\nHost: a\r\nContent-Length: {MEGABYTE}\r\n\r\n{body}"
    );
    assert_eq!(raw(gate.service, request.as_bytes()).status, 413);
}

#[test]
fn denied_client_gets_end_of_stream_at_once_and_is_cut_after_the_timeout() {
    let tape = Tape::start();
    let gate = Gate::start(&format!("[timeouts]\ndrain = \"1s\"\n{}", tape.routes()));
    let mut stream = connect(gate.gateway);
    stream
        .write_all(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(parse(&answer).status, 401);
    // The response continues byte by byte until the timeout.
    let started = Instant::now();
    while stream.write_all(b"y").is_ok() {
        assert!(started.elapsed() < PATIENCE, "never cut off");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn body_is_discarded_up_to_its_limit_and_no_further() {
    let tape = Tape::start();
    let limits = "[limits]\ndrain_bytes = 1000000\n[timeouts]\ndrain = \"1h\"\n";
    let gate = Gate::start(&format!("{limits}{}", tape.routes()));
    let mut stream = connect(gate.gateway);
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b'y'; 65536], b"\r\n".to_vec()].concat();
    let mut sent = 0_usize;
    while stream.write_all(&chunk).is_ok() {
        sent += 65536;
        assert!(sent < 200 * MEGABYTE, "never cut off");
    }
    assert!(sent >= 900_000, "cut off after {sent}");
}

#[test]
fn nothing_after_a_denied_body_is_a_request() {
    let tape = Tape::start();
    let gate = Gate::start(&tape.routes());
    let second = "GET /public/second HTTP/1.1\r\nHost: a\r\n\r\n";
    for body in ["hello", second] {
        let request = format!(
            "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}{second}",
            body.len()
        );
        let reply = raw(gate.gateway, request.as_bytes());
        assert_eq!(reply.status, 401);
        assert_eq!(reply.body, "authentication required\n");
    }
    assert_eq!(tape.heard(), "");
}

/// A response that waits for its client, behind the end of the request body, and further requests.
#[test]
fn requests_behind_a_response_that_waits_for_its_client_are_answered() {
    const LONG: usize = 400_000;
    let tape = Tape::playing(|connection| {
        let mut from = 0;
        while let Some(end) = connection.read_to(from, b"\r\n\r\n") {
            let is_long = connection.has_before(end, b"POST ");
            let body = b"0123456789abcdef".repeat(if is_long { LONG / 16 } else { 1 });
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
            let close = if is_long {
                "Connection: close\r\n\r\n"
            } else {
                "\r\n"
            };
            connection.write(&[head.as_bytes(), close.as_bytes(), &body].concat());
            from = end;
        }
    });
    let gate = Gate::start(&tape.routes());
    let next = |version: &str, connection: &str| {
        format!("GET /public/b HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n")
    };
    for next in [
        next("1.0", "keep-alive") + &next("1.1", "close"),
        next("1.1", "keep-alive") + &next("1.0", "close"),
    ] {
        // The longer the pause, the more of the response is in memory when the body ends.
        for pause in [0, 50, 300, 1000] {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(8192).unwrap();
            socket.connect(&gate.gateway.into()).unwrap();
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = "POST /public/a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello";
            stream.write_all(head.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(pause));
            stream.write_all(format!("world{next}").as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(pause));
            let mut text = String::new();
            let end = stream.read_to_string(&mut text);
            let mut rest = text.as_str();
            for length in [LONG, 16, 16] {
                let (head, body) = rest
                    .split_once("\r\n\r\n")
                    .unwrap_or_else(|| panic!("{pause} ms, {next}: {end:?} instead of a response"));
                assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{pause} {head}");
                let (body, behind) = body.split_at_checked(length).unwrap();
                let is_whole = body == "0123456789abcdef".repeat(length / 16);
                assert!(is_whole, "{pause} ms, {next}: {body}");
                rest = behind;
            }
            assert_eq!(rest, "");
        }
    }
}
