//! Clients that use more than their share of connections or time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Gate, PATIENCE, Upstream, get, raw, routes, send, until};

const IMPATIENT: &str = "[timeouts]\nheader = \"1s\"\nkeep_alive = \"1s\"\n";

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a byte every tenth of a second until the peer closes. Returns the duration.
fn drip(mut stream: TcpStream) -> Duration {
    let started = Instant::now();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let mut buffer = [0; 1024];
    loop {
        assert!(started.elapsed() < PATIENCE, "still open");
        if stream.write_all(b"x").is_err() || matches!(stream.read(&mut buffer), Ok(0)) {
            return started.elapsed();
        }
    }
}

#[test]
fn header_that_drips_is_cut() {
    let gate = Gate::start(IMPATIENT);
    for address in [gate.service, gate.gateway] {
        let mut first = connect(address);
        first
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ")
            .unwrap();
        drip(first);
        // The same after a first request.
        let mut second = connect(address);
        second
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let mut buffer = [0; 1024];
        assert!(second.read(&mut buffer).unwrap() > 0);
        second
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
            .unwrap();
        drip(second);
    }
}

#[test]
fn silent_connection_is_closed() {
    let gate = Gate::start(IMPATIENT);
    let mut stream = connect(gate.gateway);
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn slow_response_and_slow_body_are_no_slow_header() {
    let upstream = Upstream::start_slow(Duration::from_millis(1500));
    let gate = Gate::start(&format!("{IMPATIENT}{}", routes(upstream.address)));
    let mut stream = connect(gate.gateway);
    let head =
        "POST /public/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 16\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..16 {
        thread::sleep(Duration::from_millis(100));
        stream.write_all(b"y").unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(&"y".repeat(16)), "{answer}");
}

#[test]
fn address_has_its_share_of_connections_and_no_more() {
    let trusted = [("REALMGATE_SERVICE_TRUSTED_PROXIES", "['192.0.2.1']")];
    let gate = Gate::start_with(
        &trusted,
        "[timeouts]\nheader = \"1h\"\n[limits]\nconnections_per_address = 3\n",
    );
    // On both listeners together.
    let mut held = vec![
        connect(gate.gateway),
        connect(gate.service),
        connect(gate.service),
    ];
    for stream in &mut held {
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    }
    // The listeners accept concurrently. The metrics listener counts its own connection.
    until("all are accepted", || {
        let metrics = get(gate.metrics(), "/metrics", "").body;
        metrics.contains("realmgate_connections 4\n")
    });
    // One line for all of them in ten seconds; the metric counts each.
    let began = Instant::now();
    for _ in 0..6 {
        let mut one_more = connect(gate.service);
        assert!(one_more.read(&mut [0; 16]).is_ok_and(|read| read == 0));
    }
    until("it is logged", || gate.log().contains("rejected"));
    let log = gate.log();
    let lines: Vec<_> = log.lines().filter(|it| it.contains("rejected")).collect();
    assert!(
        lines.len() as u64 <= began.elapsed().as_secs() / 10 + 1,
        "{log}"
    );
    let expected = "connection rejected reason=\"connections_per_address\" peer=127.0.0.1:";
    assert!(lines.iter().all(|line| line.contains(expected)), "{log}");
    let metrics = get(gate.metrics(), "/metrics", "").body;
    let count = "realmgate_connections_rejected_total{reason=\"connections_per_address\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(count));
    assert!(count.unwrap().parse::<u64>().unwrap() == 6, "{metrics}");
    held.pop();
    until("there is room again", || {
        let mut stream = connect(gate.service);
        let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let mut answer = String::new();
        let _ = stream.write_all(request);
        stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200 ")
    });
}

#[test]
fn trusted_proxy_may_have_all_connections_but_no_more() {
    let gate = Gate::start(
        "[timeouts]\nheader = \"1h\"\n[limits]\nconnections_per_address = 1\nconnections = 4\n",
    );
    let mut held: Vec<_> = (0..4).map(|_| connect(gate.service)).collect();
    for stream in &mut held {
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    }
    until("one more is closed at once", || {
        let mut one_more = connect(gate.gateway);
        one_more.read(&mut [0; 16]).is_ok_and(|read| read == 0)
    });
    drop(held);
    until("there is room again", || {
        let request = std::panic::catch_unwind(|| get(gate.service, "/healthz", "").status);
        request.is_ok_and(|status| status == 200)
    });
}

/// A public route, with further settings for it and its upstream.
fn open_to_all(peer: SocketAddr, route: &str, upstream: &str) -> String {
    format!(
        "[[route]]\nname = \"all\"\nallow = \"anyone\"\nupstream = \"app\"\n{route}\n\
         [upstream.app]\npeers = [\"{peer}\"]\n{upstream}\n"
    )
}

#[test]
fn body_is_as_long_as_its_route_allows_and_no_longer() {
    let upstream = Upstream::start();
    let gate = Gate::start(&open_to_all(upstream.address, "body_bytes = 1000", ""));
    let chunked = |length: usize| {
        let body = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "y".repeat(length));
        let head = "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        raw(gate.gateway, format!("{head}{body}").as_bytes())
    };
    let announced = |length: usize| send(gate.gateway, "POST", "/x", "", &"y".repeat(length));
    assert_eq!(announced(1000).status, 200);
    assert_eq!(chunked(1000).status, 200);
    let passed = upstream.seen().len();
    for reply in [announced(1001), chunked(1001)] {
        assert_eq!(
            (reply.status, &*reply.body),
            (413, "the body is too large\n")
        );
    }
    assert_eq!(upstream.seen().len(), passed);
}

#[test]
fn upstream_has_as_many_requests_under_way_as_it_may_and_no_more() {
    let upstream = Upstream::start_slow(Duration::from_secs(3));
    let gate = Gate::start(&open_to_all(upstream.address, "", "requests = 2"));
    let address = gate.gateway;
    let under_way: Vec<_> = (0..2)
        .map(|_| thread::spawn(move || get(address, "/slow", "").status))
        .collect();
    until("two are under way", || upstream.seen().len() == 2);
    let reply = get(address, "/x", "");
    assert_eq!((reply.status, &*reply.body), (503, "upstream is busy\n"));
    let id = reply.field("X-Request-Id").unwrap();
    assert!(gate.log().contains(id), "{id}: {}", gate.log());
    for request in under_way {
        assert_eq!(request.join().unwrap(), 200);
    }
    gate.wait_until_idle();
    assert_eq!(get(address, "/x", "").status, 200);
}

/// A GET with a header of exactly `bytes` bytes.
fn header_of(bytes: usize) -> String {
    let start = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ";
    let end = "\r\n\r\n";
    format!(
        "{start}{}{end}",
        "x".repeat(bytes - start.len() - end.len())
    )
}

#[test]
fn header_is_as_long_as_it_may_be_and_no_longer() {
    let upstream = Upstream::start();
    let limits = "[limits]\nheader_bytes = 2048\nheader_fields = 10\ntarget_bytes = 300\n";
    let gate = Gate::start(&format!(
        "{limits}{}",
        open_to_all(upstream.address, "", "")
    ));
    let target = |bytes: usize| format!("/healthz?{}", "x".repeat(bytes - "/healthz?".len()));
    // The harness adds two headers.
    let fields = |count: usize| "X: y\r\n".repeat(count - 2);
    for address in [gate.service, gate.gateway] {
        let cases = [
            (raw(address, header_of(2048).as_bytes()), 200, ""),
            (
                raw(address, header_of(2049).as_bytes()),
                431,
                "the header is too large\n",
            ),
            (get(address, "/healthz", &fields(10)), 200, ""),
            (
                get(address, "/healthz", &fields(11)),
                431,
                "too many header fields\n",
            ),
            (get(address, &target(300), ""), 200, ""),
            (
                get(address, &target(301), ""),
                414,
                "the request target is too long\n",
            ),
        ];
        for (reply, status, line) in cases {
            assert_eq!(reply.status, status, "{reply:?}");
            if status != 200 {
                assert_eq!(reply.body, line);
                assert_eq!(reply.field("Connection"), Some("close"));
            }
        }
    }
    assert_eq!(upstream.seen().len(), 3);
}

#[test]
fn header_beyond_what_the_parser_takes_is_rejected_too() {
    let upstream = Upstream::start();
    let gate = Gate::start(&open_to_all(upstream.address, "", ""));
    for address in [gate.service, gate.gateway] {
        assert_eq!(
            get(address, "/healthz", &"X: y\r\n".repeat(300)).status,
            431
        );
    }
    assert_eq!(upstream.seen(), [""; 0]);
}

#[test]
fn header_without_an_end_is_rejected_as_soon_as_it_has_too_many_fields() {
    let upstream = Upstream::start();
    let gate = Gate::start(&open_to_all(upstream.address, "", ""));
    for address in [gate.service, gate.gateway] {
        let unfinished = format!(
            "GET /healthz HTTP/1.1\r\nHost: a\r\n{}",
            "X: y\r\n".repeat(200)
        );
        let reply = raw(address, unfinished.as_bytes());
        assert_eq!(reply.status, 431, "{reply:?}");
        assert_eq!(reply.body, "too many header fields\n");
    }
    let log = gate.log();
    assert_eq!(log.matches("too_many_fields").count(), 2, "{log}");
}

#[test]
fn connections_for_grpc_count_too() {
    let environment = [("REALMGATE_GRPC_LISTEN", "127.0.0.1:0")];
    let gate = Gate::start_with(&environment, "[limits]\nconnections = 2\n");
    let grpc = gate.grpc.unwrap();
    let open = [connect(grpc), connect(grpc)];
    assert_eq!(connect(grpc).read(&mut [0; 16]).unwrap_or(0), 0);
    assert_eq!(connect(gate.gateway).read(&mut [0; 16]).unwrap_or(0), 0);
    drop(open);
    until("there is room again", || {
        let mut stream = connect(grpc);
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        // It stays open: reading ends only by the timeout.
        matches!(stream.read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
            || stream
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                .is_ok()
                && matches!(stream.read(&mut [0; 1]), Ok(1))
    });
}

#[test]
fn silent_grpc_connection_is_closed() {
    let environment = [("REALMGATE_GRPC_LISTEN", "127.0.0.1:0")];
    let gate = Gate::start_with(&environment, "[timeouts]\nheader = \"300ms\"\n");
    let mut stream = connect(gate.grpc.unwrap());
    // The server's settings may arrive; then the connection ends soon.
    assert!(stream.read_to_end(&mut Vec::new()).is_ok());
}
