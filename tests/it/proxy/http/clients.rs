//! What clients do on a connection that a gateway has to bear.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ::http::{Method, Request};
use bytes::Bytes;
use tokio::runtime::Runtime;

use super::{Canned, Upstream2, answer2, ask, ask2, before, exchange, status};
use crate::harness::tape::Tape;
use crate::harness::{Gate, PATIENCE, field, get, read_message, stdout, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An upstream that takes its time.
fn slow() -> Tape {
    Tape::playing(|connection| {
        let mut from = 0;
        while let Some(end) = connection.read_to(from, b"\r\n\r\n") {
            from = end;
            thread::sleep(Duration::from_millis(300));
            connection.write(OK.as_bytes());
        }
    })
}

#[test]
fn requests_that_come_before_the_response_are_answered_in_order() {
    let tape = slow();
    let gate = Gate::start(&tape.routes());
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n");
    stream.write_all(get("/public/1", "").as_bytes()).unwrap();
    // While the first is under way, and in one write.
    thread::sleep(Duration::from_millis(100));
    let long = format!("X-Long: {}\r\n", "x".repeat(6000));
    let rest = [
        get("/public/2", &long),
        get("/ops/3", ""),
        "\r\n".to_owned(),
        get("/public/4", "Connection: close\r\n"),
    ];
    stream.write_all(rest.concat().as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let statuses: Vec<&str> = answers
        .split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|it| it.split(' ').next())
        .collect();
    assert_eq!(statuses, ["200", "200", "401", "200"], "{answers}");
    assert_eq!(
        answers.to_lowercase().matches("connection: close").count(),
        1
    );
    let heard = tape.heard();
    let paths: Vec<&str> = heard
        .lines()
        .filter_map(|line| line.strip_prefix("GET ")?.split(' ').next())
        .collect();
    assert_eq!(paths, ["/public/1", "/public/2", "/public/4"]);
}

#[test]
fn body_behind_which_bytes_come_is_read_to_its_end() {
    let tape = Tape::start();
    let gate = Gate::start(&tape.routes());
    let body = "x".repeat(5000);
    let post =
        format!("POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n{body}\r\n");
    let next = "GET /public/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answers = exchange(&gate, format!("{post}{next}").as_bytes());
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert!(tape.heard().contains("GET /public/next "));
}

#[test]
fn h2load_pipelines_and_loses_no_request() {
    let upstream = Canned::start();
    upstream.says(OK);
    let gate = before(&upstream);
    let output = Command::new("h2load")
        .args(["--h1", "-n", "400", "-c", "10", "-m", "4"])
        .arg(format!("http://{}/public", gate.gateway))
        .output()
        .unwrap_or_else(|error| panic!("h2load: {error}; run scripts/setup test"));
    let report = stdout(&output);
    assert!(report.contains("400 succeeded, 0 failed"), "{report}");
    assert!(report.contains("400 2xx"), "{report}");
}

#[test]
fn burst_of_streams_beyond_the_limit_loses_none_that_was_accepted() {
    let upstream = Canned::start();
    upstream.says(OK);
    let gate = before(&upstream);
    // 100 at once, before it has read that 32 are the limit: it counts the others as failed.
    let output = Command::new("h2load")
        .args(["-n", "400", "-c", "1", "-m", "100"])
        .arg(format!("http://{}/public", gate.gateway))
        .output()
        .unwrap_or_else(|error| panic!("h2load: {error}; run scripts/setup test"));
    let report = stdout(&output);
    let (_, rest) = report.split_once("400 done, ").unwrap();
    let (succeeded, _) = rest.split_once(" succeeded").unwrap();
    assert!(succeeded.parse::<u32>().unwrap() >= 400 - 68, "{report}");
}

#[test]
fn client_that_leaves_bytes_behind_its_request_is_noticed() {
    let tape = Tape::playing(|connection| {
        connection.read_to(0, b"\r\n\r\n");
        thread::sleep(3 * PATIENCE);
    });
    let gate = Gate::start(&tape.routes());
    let in_flight = |count: usize| {
        let metrics = get(gate.metrics(), "/metrics", "").body;
        metrics.contains(&format!("\nrealmgate_requests_in_flight {count}\n"))
    };
    for behind in ["", "G", "GET /public HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut stream = TcpStream::connect(gate.gateway).unwrap();
        let request = format!("GET /public HTTP/1.1\r\nHost: a\r\n\r\n{behind}");
        stream.write_all(request.as_bytes()).unwrap();
        until("the request is under way", || in_flight(1));
        drop(stream);
        // The upstream takes longer.
        until("the client is gone", || in_flight(0));
    }
}

#[test]
fn response_comes_as_it_is_sent() {
    static HAS_READ: AtomicBool = AtomicBool::new(false);
    let tape = Tape::playing(|connection| {
        connection.read_to(0, b"\r\n\r\n");
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
        until("the client has the beginning", || {
            HAS_READ.load(Ordering::SeqCst)
        });
        connection.write(b"cd");
    });
    let gate = Gate::start(&tape.routes());
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /public HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"ab") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0);
        answer.extend(&buffer[..read]);
    }
    HAS_READ.store(true, Ordering::SeqCst);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "cd");
}

#[test]
fn request_line_that_is_not_well_formed_is_400() {
    let tape = Tape::start();
    let gate = Gate::start(&tape.routes());
    for line in [
        "GET /public/a b HTTP/1.1",
        "GET /public#x HTTP/1.1",
        "GET /public?a#x HTTP/1.1",
        "GET /public?a\rb HTTP/1.1",
        "GET /public?\u{1} HTTP/1.1",
        "GET /public HTTP/1.1 ",
    ] {
        let answer = exchange(
            &gate,
            format!("{line}\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert_eq!(status(&answer), 400, "{line:?} {answer}");
    }
    let latin = b"GET /public?a=\xe9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&exchange(&gate, latin)), 400);
    assert_eq!(tape.heard(), "");
}

#[test]
fn gateway_adds_via_to_requests() {
    let upstream = Canned::start();
    upstream.says(OK);
    let gate = before(&upstream);
    ask(&gate, "GET", "1.1", "Via: 1.0 other\r\n");
    ask2(&gate, Method::GET, &[], b"").unwrap();
    let heard = upstream.heard();
    let via = |message: &str| message.to_lowercase().matches("\r\nvia: ").count();
    assert_eq!(via(&heard[0]), 2, "{heard:?}");
    assert!(heard[0].contains("via: 1.1 realmgate\r\n"), "{heard:?}");
    assert_eq!(field(&heard[1], "Via"), Some("2.0 realmgate"));
}

#[test]
fn options_go_no_further_than_they_may() {
    let upstream = Canned::start();
    upstream.says(OK);
    let gate = before(&upstream);
    let answer = ask(&gate, "OPTIONS", "1.1", "Max-Forwards: 0\r\n");
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(field(&answer, "Allow").is_some(), "{answer}");
    assert!(upstream.heard().is_empty());
    ask(&gate, "OPTIONS", "1.1", "Max-Forwards: 3\r\n");
    ask(&gate, "GET", "1.1", "Max-Forwards: 0\r\n");
    let heard = upstream.heard();
    assert_eq!(field(&heard[0], "Max-Forwards"), Some("2"), "{heard:?}");
    assert_eq!(field(&heard[1], "Max-Forwards"), Some("0"), "{heard:?}");
}

#[test]
fn keep_alive_header_has_the_idle_timeout() {
    let upstream = Canned::start();
    upstream.says(OK);
    let gate = before(&upstream);
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    stream
        .write_all(b"GET /public HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let answer = read_message(&mut stream).unwrap();
    assert_eq!(field(&answer, "Keep-Alive"), Some("timeout=99"), "{answer}");
    let answer = ask(&gate, "GET", "1.1", "");
    assert_eq!(field(&answer, "Keep-Alive"), None, "{answer}");
}

#[test]
fn denied_call_gets_a_status_of_grpc() {
    let upstream = Upstream2::start(|respond| answer2(respond, 200, &[], b"ok", &[]));
    let gate = upstream.gate();
    let runtime = Runtime::new().unwrap();
    let (parts, body) = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gate.gateway).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::post("http://app.example/ops")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (answer, mut sent) = client.send_request(request, false).unwrap();
        sent.send_data(Bytes::from_static(b"\0\0\0\0\0"), true)
            .unwrap();
        let (parts, mut rest) = answer.await.unwrap().into_parts();
        let mut body = Vec::new();
        while let Some(part) = rest.data().await {
            body.extend_from_slice(&part.unwrap());
        }
        (parts, body)
    });
    assert_eq!((parts.status.as_u16(), &*body), (200, &b""[..]));
    assert_eq!(parts.headers["grpc-status"], "16", "{parts:?}");
    assert_eq!(parts.headers["grpc-message"], "authentication required");
    assert_eq!(parts.headers["content-type"], "application/grpc");
}

/// Asks over HTTP/2 for a path. Returns the status and a header.
fn ask_path(gate: &Gate, path: &str) -> (u16, Option<String>) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gate.gateway).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let uri = format!("http://app.example{path}");
        let request = Request::get(uri).header("x-gone", "1").body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let parts = answer.await.unwrap().into_parts().0;
        let added = parts.headers.get("x-frame-options");
        (
            parts.status.as_u16(),
            added.map(|it| it.to_str().unwrap().to_owned()),
        )
    })
}

const REWRITES: &str = "strip_prefix = true\nupstream_host = 'inner.example'\n\
    request_headers = { set = { X-Edge = 'eu' }, remove = ['X-Gone'] }\n\
    response_headers = { set = { X-Frame-Options = 'DENY' } }\n";

fn rewriting(peers: &str) -> Gate {
    Gate::start(&format!(
        "h2c = true\n[[route]]\nname = 'api'\npath = '/api'\nallow = 'anyone'\nupstream = 'app'\n{REWRITES}\
         [upstream.app]\npeers = ['{peers}']\n"
    ))
}

#[test]
fn every_rewriting_key_works_from_both_versions_to_http1() {
    let upstream = Canned::start();
    upstream.says(OK);
    let gate = rewriting(&upstream.address.to_string());
    let one = "GET /api/x?q HTTP/1.1\r\nHost: a\r\nX-Gone: 1\r\nConnection: close\r\n\r\n";
    let answer = exchange(&gate, one.as_bytes());
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(field(&answer, "X-Frame-Options"), Some("DENY"));
    assert_eq!(ask_path(&gate, "/api/x?q"), (200, Some("DENY".to_owned())));
    for heard in upstream.heard() {
        assert!(heard.starts_with("GET /x?q HTTP/1.1\r\n"), "{heard}");
        assert_eq!(field(&heard, "Host"), Some("inner.example"), "{heard}");
        assert_eq!(field(&heard, "X-Edge"), Some("eu"), "{heard}");
        assert_eq!(field(&heard, "X-Gone"), None, "{heard}");
    }
}

#[test]
fn every_rewriting_key_works_from_both_versions_to_http2() {
    let upstream = Upstream2::start(|respond| answer2(respond, 200, &[], b"ok", &[]));
    let gate = rewriting(&format!("{}']\nhttp = '2'\n# ['", upstream.address));
    let one = "GET /api/x?q HTTP/1.1\r\nHost: a\r\nX-Gone: 1\r\nConnection: close\r\n\r\n";
    let answer = exchange(&gate, one.as_bytes());
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(field(&answer, "X-Frame-Options"), Some("DENY"));
    assert_eq!(ask_path(&gate, "/api/x?q"), (200, Some("DENY".to_owned())));
    let heard = std::mem::take(&mut *upstream.heard.lock().unwrap());
    assert_eq!(heard.len(), 2);
    for fields in heard {
        assert_eq!(fields["x-edge"], "eu");
        assert!(!fields.contains_key("x-gone"));
    }
}

/// Returns how much of a body may be sent at once over a new HTTP/2 connection, which stays open.
async fn window(gate: &Gate) -> (usize, h2::client::SendRequest<Bytes>) {
    // From an address that is no trusted proxy.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = socket.connect(gate.gateway).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.max_send_buffer_size(8 << 20);
    let (client, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut client = client.ready().await.unwrap();
    let request = Request::post("http://app.example/public").body(()).unwrap();
    let (_answer, mut body) = client.send_request(request, false).unwrap();
    body.reserve_capacity(8 << 20);
    let mut most = 0;
    // The settings of the server may come after the request has gone.
    for _ in 0..3 {
        let more = std::future::poll_fn(|context| body.poll_capacity(context));
        match tokio::time::timeout(Duration::from_millis(500), more).await {
            Ok(capacity) => most = capacity.unwrap().unwrap(),
            Err(_) => break,
        }
    }
    (most, client)
}

#[test]
fn few_connections_of_an_address_have_large_windows() {
    let upstream = Canned::start();
    let gate = before(&upstream);
    Runtime::new().unwrap().block_on(async {
        let mut open = Vec::new();
        for number in 1..=18 {
            let (window, client) = window(&gate).await;
            open.push(client);
            let expected = if number <= 16 { 1 << 20 } else { 65_535 };
            assert_eq!(window, expected, "connection {number}");
        }
    });
}

#[test]
fn call_may_be_silent_for_longer_than_another_request() {
    let upstream = Upstream2::start(|mut respond| {
        let mut stream = respond
            .send_response(::http::Response::new(()), false)
            .unwrap();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(1500));
            let _ = stream.send_data(Bytes::from_static(b"late"), true);
        });
    });
    let gate = Gate::start(&format!(
        "h2c = true\n[[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'app'\n\
         [upstream.app]\npeers = ['{}']\nhttp = '2'\nread_timeout = '500ms'\nstream_timeout = '1m'\n",
        upstream.address
    ));
    let call = [("content-type", "application/grpc+proto")];
    let (_, body, _) = ask2(&gate, Method::POST, &call, b"\0\0\0\0\0").unwrap();
    assert_eq!(body, b"late");
    let error = ask2(&gate, Method::POST, &[], b"x").unwrap_err();
    // The client may try a call again that has failed like this, and has not cancelled it.
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    assert!(gate.log().contains("the response ended early"));
}
