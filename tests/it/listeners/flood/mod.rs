//! One client that uses as much as it can get, and its effect on another address.

mod chunks;
mod grpc;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, block, frame, request,
};
use crate::harness::{Gate, PATIENCE, Reply, Upstream, parse, read_message, realmgate, until};
use crate::harness::{frames, tape};

/// The client, and another address. Neither is a trusted proxy.
const CLIENT: &str = "127.0.0.2";
const OTHER: &str = "127.0.0.3";

fn connect(source: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source = SocketAddr::new(source.parse().unwrap(), 0);
    socket.bind(&source.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn get(source: &str, to: SocketAddr, path: &str) -> Reply {
    let mut stream = connect(source, to);
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    parse(&answer)
}

fn open_to_all(upstream: SocketAddr, more: &str) -> String {
    format!(
        "[[route]]\nname = \"all\"\nallow = \"anyone\"\nupstream = \"app\"\n\
         [upstream.app]\npeers = [\"{upstream}\"]\n{more}\n"
    )
}

/// Returns the memory of a process in KiB.
fn memory(gate: &Gate) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    line.unwrap().trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn header_without_an_end_is_rejected_as_soon_as_it_is_too_long() {
    let upstream = Upstream::start();
    let rules = open_to_all(upstream.address, "");
    let gate = Gate::start(&format!("[limits]\nheader_bytes = 8192\n{rules}"));
    for address in [gate.service, gate.gateway, gate.metrics()] {
        let begun = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        let exact = format!("{begun}{}", "x".repeat(8192 - begun.len()));
        let mut stream = connect(CLIENT, address);
        stream.write_all(exact.as_bytes()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        assert!(stream.read(&mut [0; 16]).is_err(), "refused too early");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"x").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let reply = parse(&answer);
        assert_eq!(
            (reply.status, &*reply.body),
            (431, "the header is too large\n")
        );
        assert_eq!(reply.field("Connection"), Some("close"));
        assert!(reply.field("Date").is_some());
    }
    assert_eq!(upstream.seen(), [""; 0]);
    let log = gate.log();
    assert_eq!(log.matches("header_too_large").count(), 3, "{log}");
}

#[test]
fn unfinished_headers_cost_little_more_than_their_bound() {
    let gate = Gate::start("");
    assert_eq!(get(OTHER, gate.service, "/healthz").status, 200);
    let before = memory(&gate);
    let held: Vec<_> = (0..60)
        .map(|_| {
            let mut stream = connect(CLIENT, gate.service);
            stream
                .set_write_timeout(Some(Duration::from_secs(1)))
                .unwrap();
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ");
            let _ = stream.write_all(&vec![b'x'; 60_000]);
            stream
        })
        .collect();
    until("the bytes are there", || {
        memory(&gate) > before + 60 * 50 || get(OTHER, gate.service, "/healthz").status == 0
    });
    for mut stream in &held {
        let _ = stream.write_all(&vec![b'x'; 840_000]);
    }
    assert_eq!(get(OTHER, gate.service, "/healthz").status, 200);
    let grown = memory(&gate).saturating_sub(before);
    // 60 KiB and the overhead of a connection; 54 MB without the limit.
    assert!(grown < 60 * 200, "{grown} KiB");
}

#[test]
fn header_is_complete_when_the_parser_accepts_it() {
    let gate = Gate::start("[timeouts]\nheader = \"1h\"\n");
    for (request, status) in [
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n", 200),
        ("GET /healthz HTTP/1.1\nHost: a\n\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\n\n", 400),
        ("\x16\x03\x01\x02", 400),
        ("{}", 400),
    ] {
        let mut stream = connect(CLIENT, gate.service);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(parse(&answer).status, status, "{request:?}");
    }
}

#[test]
fn requests_of_an_address_are_bounded_over_http1_and_another_address_passes() {
    let upstream = Upstream::start_slow(PATIENCE * 2);
    let quick = Upstream::start();
    let rules = format!(
        "[limits]\nrequests_per_address = 2\n\
         [[route]]\nname = \"quick\"\npath = \"/quick\"\nallow = \"anyone\"\nupstream = \"quick\"\n\
         [upstream.quick]\npeers = [\"{}\"]\n{}",
        quick.address,
        open_to_all(upstream.address, "")
    );
    let gate = Gate::start(&rules);
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = connect(CLIENT, gate.gateway);
            stream
                .write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    until("two are under way", || upstream.seen().len() == 2);
    // On all listeners together, for any path.
    for address in [gate.gateway, gate.service] {
        let reply = get(CLIENT, address, "/quick");
        assert_eq!(
            (reply.status, &*reply.body),
            (429, "too many requests at a time\n")
        );
        assert_eq!(reply.field("Retry-After"), Some("1"));
    }
    assert_eq!(get(OTHER, gate.gateway, "/quick").status, 200);
    // The clients of a trusted proxy share its address.
    for _ in 0..3 {
        assert_eq!(get("127.0.0.1", gate.gateway, "/quick").status, 200);
    }
    // A response is read a moment before its request has ended.
    until("the held requests are the only ones", || {
        let metrics = get(OTHER, gate.metrics(), "/metrics").body;
        metrics.contains("\nrealmgate_requests_in_flight 2\n")
    });
    assert!(gate.log().contains("reason=\"address_busy\""));
    drop(held);
    until("there is room again", || {
        get(CLIENT, gate.gateway, "/quick").status == 200
    });
}

#[test]
fn requests_of_all_are_bounded() {
    let upstream = Upstream::start_slow(PATIENCE * 2);
    let rules = open_to_all(upstream.address, "");
    let gate = Gate::start(&format!("[limits]\nrequests = 2\n{rules}"));
    let held: Vec<_> = [CLIENT, OTHER]
        .map(|source| {
            let mut stream = connect(source, gate.gateway);
            stream
                .write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap();
            stream
        })
        .into();
    until("two are under way", || upstream.seen().len() == 2);
    let reply = get("127.0.0.1", gate.service, "/healthz");
    assert_eq!(
        (reply.status, &*reply.body),
        (503, "too many requests under way\n")
    );
    assert_eq!(get(OTHER, gate.metrics(), "/healthz").status, 200);
    drop(held);
    until("there is room again", || {
        get(CLIENT, gate.service, "/healthz").status == 200
    });
}

#[test]
fn address_gets_half_of_an_upstream_and_no_more() {
    let upstream = Upstream::start_slow(Duration::from_secs(6));
    let gate = Gate::start(&open_to_all(upstream.address, "requests = 3"));
    let hold = |source| {
        let mut stream = connect(source, gate.gateway);
        stream
            .write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        stream
    };
    let _held = [hold(CLIENT), hold(CLIENT)];
    until("two are under way", || upstream.seen().len() == 2);
    let reply = get(CLIENT, gate.gateway, "/x");
    assert_eq!(reply.status, 429, "{reply:?}");
    assert!(reply.field("X-Request-Id").is_some());
    let mut other = hold(OTHER);
    until("a third is under way", || upstream.seen().len() == 3);
    // Now all requests are in use.
    assert_eq!(get("127.0.0.4", gate.gateway, "/x").status, 503);
    assert!(
        read_message(&mut other)
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
}

/// Begins an endless POST on each of `streams` streams.
fn post_without_end(stream: &mut TcpStream, streams: u32) {
    let mut bytes = Vec::new();
    for id in (0..streams).map(|n| 2 * n + 1) {
        let head = block(&request("POST", "a", "/held"));
        frame(&mut bytes, HEADERS, END_HEADERS, id, &head);
    }
    stream.write_all(&bytes).unwrap();
}

#[test]
fn streams_of_http2_count_as_requests_of_their_address() {
    let upstream = tape::Tape::playing(|connection| {
        connection.read_to(0, b"never");
    });
    let rules = upstream.routes();
    let gate = Gate::start(&format!(
        "h2c = true\n[limits]\nrequests_per_address = 5\nstreams = 4\n{}",
        rules.replace("/public", "/held")
    ));
    let mut held: Vec<_> = (0..3)
        .map(|_| frames::begin(connect(CLIENT, gate.gateway), &[]))
        .collect();
    for stream in &mut held {
        post_without_end(stream, 4);
    }
    until("five are under way", || {
        let metrics = get(OTHER, gate.metrics(), "/metrics").body;
        metrics.contains("\nrealmgate_requests_in_flight 5\n")
    });
    let statuses = |source: &str| {
        let mut stream = frames::begin(connect(source, gate.gateway), &[]);
        let mut bytes = Vec::new();
        let head = block(&request("GET", "a", "/none"));
        frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, 1, &head);
        stream.write_all(&bytes).unwrap();
        loop {
            let frame = frames::read(&mut stream).unwrap();
            if frame.kind == HEADERS {
                return frames::status_of(&frame.payload);
            }
        }
    };
    assert_eq!(statuses(CLIENT), Some(429));
    assert_ne!(statuses(OTHER), Some(429));
    drop(held);
    until("nothing is under way", || {
        let metrics = get(OTHER, gate.metrics(), "/metrics").body;
        metrics.contains("\nrealmgate_requests_in_flight 0\n")
    });
}

#[test]
fn requests_count_for_the_address_that_a_load_balancer_names() {
    let upstream = Upstream::start_slow(PATIENCE * 2);
    let rules = open_to_all(upstream.address, "");
    let gate = Gate::start(&format!(
        "proxy_protocol = ['{CLIENT}']\n[limits]\nrequests_per_address = 1\n{rules}"
    ));
    let ask = |reported: &str, path: &str| {
        let mut stream = connect(CLIENT, gate.gateway);
        let header = format!("PROXY TCP4 {reported} 192.0.2.1 4711 80\r\n");
        let request = format!("{header}GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let _held = [ask("203.0.113.7", "/slow"), ask("203.0.113.8", "/slow")];
    until("both are under way", || upstream.seen().len() == 2);
    let mut third = ask("203.0.113.7", "/slow");
    assert!(
        read_message(&mut third)
            .unwrap()
            .starts_with("HTTP/1.1 429 ")
    );
}

#[test]
fn body_that_drips_is_cut_over_http1() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        "[timeouts]\nread = \"500ms\"\n[limits]\nbody_rate = 1000\n{}",
        open_to_all(upstream.address, "")
    ));
    let mut stream = connect(CLIENT, gate.gateway);
    let head = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let begun = Instant::now();
    // A byte every 50 ms, which a timeout between bytes would not notice.
    while !answer.ends_with(b"slowly\n") {
        assert!(begun.elapsed() < PATIENCE, "still open");
        let _ = stream.write_all(b"y");
        let mut part = [0; 1024];
        if let Ok(read) = stream.read(&mut part) {
            answer.extend(&part[..read]);
        }
    }
    assert_eq!(parse(&answer).status, 408);
}

#[test]
fn body_that_stops_or_drips_is_cut_over_http2() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        "h2c = true\n[timeouts]\nread = \"500ms\"\n[limits]\nbody_rate = 1000\n\
         [log]\naccess = \"all\"\nformat = \"json\"\n{}",
        open_to_all(upstream.address, "")
    ));
    for drips in [false, true] {
        let mut stream = frames::begin(connect(CLIENT, gate.gateway), &[]);
        post_without_end(&mut stream, 1);
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let begun = Instant::now();
        let mut heard: Vec<u8> = Vec::new();
        loop {
            assert!(begun.elapsed() < PATIENCE, "still open, {drips}");
            if drips {
                let mut bytes = Vec::new();
                frame(&mut bytes, DATA, 0, 1, b"y");
                let _ = stream.write_all(&bytes);
            }
            let mut part = [0; 1024];
            if let Ok(read) = stream.read(&mut part) {
                heard.extend(&part[..read]);
            }
            let mut rest = &*heard;
            let mut is_over = false;
            while rest.len() >= 9 {
                let length = usize::from(rest[1]) << 8 | usize::from(rest[2]);
                is_over |= rest[3] == RST_STREAM || rest[3] == HEADERS;
                rest = rest.get(9 + length..).unwrap_or_default();
            }
            if is_over {
                break;
            }
        }
        assert!(begun.elapsed() >= Duration::from_millis(500));
    }
    // The read timeout of an upstream is a minute.
    until("both are reported", || {
        gate.log().matches("body_timeout").count() == 2
    });
    let log = gate.log();
    let reported = log.lines().filter(|line| line.contains("\"/held\""));
    assert_eq!(reported.count(), 2, "{log}");
}

#[test]
fn cookie_in_many_crumbs_is_one_field() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        "h2c = true\n{}",
        open_to_all(upstream.address, "")
    ));
    let crumbs: Vec<String> = (0..120).map(|n| format!("crumb{n}=1")).collect();
    let mut fields = request("GET", "a", "/x").to_vec();
    fields.extend(crumbs.iter().map(|crumb| ("cookie", &**crumb)));
    assert_eq!(frames::ask(gate.gateway, &fields, b"", &[]), Some(200));
    let cookie = crumbs.join("; ");
    let seen = upstream.seen().pop().unwrap();
    assert_eq!(crate::harness::field(&seen, "Cookie"), Some(&*cookie));
    // Other headers are not joined.
    let mut fields = request("GET", "a", "/x").to_vec();
    fields.extend(crumbs.iter().map(|crumb| ("x-crumb", &**crumb)));
    assert_eq!(frames::ask(gate.gateway, &fields, b"", &[]), Some(431));
}

#[test]
fn longest_target_that_can_be_configured_is_taken() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        "[limits]\ntarget_bytes = 65534\nheader_bytes = 200000\n{}",
        open_to_all(upstream.address, "")
    ));
    let target = |bytes: usize| format!("/{}", "x".repeat(bytes - 1));
    for at in [gate.gateway, gate.service] {
        let longest = get(CLIENT, at, &target(65_534)).status;
        assert_eq!(longest, if at == gate.gateway { 200 } else { 404 });
        assert_eq!(get(CLIENT, at, &target(65_535)).status, 414);
    }
}

/// Starts realmgate from a shell that has set limits.
fn with_limits(limits: &str, more: &str) -> Gate {
    let program = realmgate(&[]).get_program().to_owned();
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")])
        .arg(program);
    Gate::start_as(command, more)
}

#[test]
fn soft_limit_of_open_files_is_raised() {
    let gate = with_limits("ulimit -Sn 128", "");
    let limits = fs::read_to_string(format!("/proc/{}/limits", gate.pid())).unwrap();
    let line = limits
        .lines()
        .find_map(|it| it.strip_prefix("Max open files"));
    let mut numbers = line.unwrap().split_whitespace();
    let (soft, hard) = (numbers.next().unwrap(), numbers.next().unwrap());
    assert_eq!(soft, hard);
    assert_ne!(soft, "128");
}

#[test]
fn few_open_files_give_a_warning_and_leave_room_for_other_addresses() {
    let gate = with_limits("ulimit -n 600", "");
    let log = gate.log();
    assert!(
        log.contains("the limits do not fit the number of open files"),
        "{log}"
    );
    let mut held: Vec<_> = (0..300).map(|_| connect(CLIENT, gate.service)).collect();
    for stream in &mut held {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n");
    }
    until("the client has its share", || {
        gate.log().contains("connections_per_address")
    });
    for _ in 0..10 {
        assert_eq!(get(OTHER, gate.service, "/healthz").status, 200);
        assert_eq!(get(OTHER, gate.metrics(), "/readyz").status, 200);
    }
}
