//! Connections to peers: selection, verification and failures.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::certificate::Ca;
use crate::harness::nginx::Nginx;
use crate::harness::port::Port;
use crate::harness::{
    Gate, PATIENCE, Reply, Upstream, field, get, parse, read_message, send, until,
};

/// A public gateway to an upstream with these settings.
fn gate(upstream: &str) -> Gate {
    Gate::start(&configuration(upstream))
}

fn configuration(upstream: &str) -> String {
    format!(
        "[[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'app'\n[upstream.app]\n{upstream}"
    )
}

/// A real nginx with TLS that returns the certificate of its client.
fn nginx(ca: &Ca, names: &str, days: &str, more: &str) -> Nginx {
    let (cert, key) = ca.issue_for("server", "/CN=server", names, days);
    Nginx::serve(&format!(
        "listen ADDRESS ssl http2; ssl_certificate {cert}; ssl_certificate_key {key}; {more}
         location / {{ return 200 '$server_protocol $ssl_server_name $ssl_client_s_dn'; }}"
    ))
}

fn over_tls(nginx: &Nginx, ca: &Ca, more: &str) -> Reply {
    let gate = gate(&format!(
        "peers = ['{}']\ntls = true\nserver_name = 'app.internal'\nca = '{}'\n{more}",
        nginx.address,
        ca.file()
    ));
    get(gate.gateway, "/x", "")
}

#[test]
fn peer_without_a_valid_certificate_gets_no_request() {
    let (ca, other) = (Ca::new(), Ca::new());
    let good = nginx(&ca, "DNS:app.internal", "2", "");
    let reply = over_tls(&good, &ca, "");
    assert_eq!(
        (reply.status, &*reply.body),
        (200, "HTTP/1.1 app.internal ")
    );
    for (bad, ca) in [
        (nginx(&ca, "DNS:other.internal", "2", ""), &ca),
        (nginx(&ca, "DNS:app.internal", "-1", ""), &ca),
        (nginx(&ca, "DNS:app.internal", "2", ""), &other),
    ] {
        let reply = over_tls(&bad, ca, "");
        assert_eq!(
            (reply.status, &*reply.body),
            (502, "upstream unavailable\n")
        );
        assert!(reply.field("X-Request-Id").is_some());
    }
    // No CA of the system has signed it.
    let address = good.address;
    let gate = gate(&format!(
        "peers = ['{address}']\ntls = true\nserver_name = 'app.internal'\n"
    ));
    assert_eq!(get(gate.gateway, "/x", "").status, 502);
}

#[test]
fn why_tls_to_a_peer_failed_is_logged_now_and_then_and_counted() {
    let (ca, other) = (Ca::new(), Ca::new());
    let by_itself = |cert: &str, key: &str| {
        Nginx::serve(&format!(
            "listen ADDRESS ssl; ssl_certificate {cert}; ssl_certificate_key {key}; location / {{ return 200; }}"
        ))
    };
    for (server, trusted, reason, cause) in [
        (
            nginx(&ca, "DNS:other.internal", "2", ""),
            ca.file(),
            "name",
            "not valid for name",
        ),
        (
            nginx(&ca, "DNS:app.internal", "-1", ""),
            ca.file(),
            "expired",
            "expired",
        ),
        (
            nginx(&ca, "DNS:app.internal", "2", ""),
            other.file(),
            "unknown_issuer",
            "not signed by a trusted CA, but by one of the same name",
        ),
        (
            by_itself(&other.file(), &other.key_file()),
            other.file(),
            "ca_as_end_entity",
            "the certificate is that of a CA",
        ),
    ] {
        let gate = gate(&format!(
            "peers = ['{}']\ntls = true\nserver_name = 'app.internal'\nca = '{trusted}'\n\
             tries = 1\nhealth_check = '/x'\nhealth_interval = '1h'\nhealth_timeout = '10s'\neject_failures = 0\n",
            server.address
        ));
        until("the health check says so", || {
            gate.log().contains("a peer is not healthy")
        });
        let log = gate.log();
        assert!(
            log.contains(&format!("reason=\"no TLS: {reason} (")),
            "{log}"
        );
        // The requests show it too.
        let text = std::fs::read_to_string(gate.config()).unwrap();
        let text: String = text
            .lines()
            .filter(|it| !it.starts_with("health"))
            .map(|it| format!("{it}\n"))
            .collect();
        std::fs::write(gate.config(), text).unwrap();
        gate.signal("HUP");
        until("the reload", || gate.log().contains("reloaded config="));
        for _ in 0..5 {
            assert_eq!(get(gate.gateway, "/x", "").status, 502);
        }
        let log = gate.log();
        let lines: Vec<_> = log
            .lines()
            .filter(|it| it.contains("TLS handshake with a peer failed"))
            .collect();
        assert_eq!(lines.len(), 1, "{log}");
        let line = lines[0];
        assert!(
            line.contains(&format!("reason=\"{reason}\"")) && line.contains(cause),
            "{line}"
        );
        assert!(
            line.contains(&format!("upstream=app peer={}", server.address)),
            "{line}"
        );
        let metrics = get(gate.metrics(), "/metrics", "").body;
        let count = format!(
            "realmgate_upstream_tls_failures_total{{upstream=\"app\",reason=\"{reason}\"}} 5"
        );
        assert!(metrics.contains(&count), "{metrics}");
    }
}

#[test]
fn peer_that_requests_a_client_certificate_gets_it() {
    let ca = Ca::new();
    let ask = format!(
        "ssl_client_certificate {}; ssl_verify_client on;",
        ca.file()
    );
    let nginx = nginx(&ca, "DNS:app.internal", "2", &ask);
    assert_eq!(over_tls(&nginx, &ca, "").status, 400);
    let (cert, key) = ca.issue("client", "/CN=gateway", "");
    let reply = over_tls(
        &nginx,
        &ca,
        &format!("client_cert = '{cert}'\nclient_key = '{key}'\n"),
    );
    assert_eq!(
        (reply.status, &*reply.body),
        (200, "HTTP/1.1 app.internal CN=gateway")
    );
}

#[test]
fn peer_speaks_http_2_where_configured() {
    let ca = Ca::new();
    let server = nginx(&ca, "DNS:app.internal", "2", "");
    for http in ["2", "auto"] {
        let reply = over_tls(&server, &ca, &format!("http = '{http}'\n"));
        assert_eq!(
            (reply.status, &*reply.body),
            (200, "HTTP/2.0 app.internal ")
        );
    }
    // Without TLS, by prior knowledge.
    let plain = Nginx::serve("listen ADDRESS http2; location / { return 200 '$server_protocol'; }");
    let gate = gate(&format!("peers = ['{}']\nhttp = '2'\n", plain.address));
    assert_eq!(get(gate.gateway, "/x", "").body, "HTTP/2.0");
}

#[test]
fn new_ca_counts_at_once_after_a_reload() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = nginx(&ca, "DNS:app.internal", "2", "");
    let gate = gate(&format!(
        "peers = ['{}']\ntls = true\nserver_name = 'app.internal'\nca = '{}'\n",
        server.address,
        ca.file()
    ));
    assert_eq!(get(gate.gateway, "/x", "").status, 200);
    // The connection that the old CA has verified is still open, and is not used.
    let text = std::fs::read_to_string(gate.config()).unwrap();
    std::fs::write(gate.config(), text.replace(&ca.file(), &other.file())).unwrap();
    gate.signal("HUP");
    until("the reload", || gate.log().contains("reloaded config="));
    assert_eq!(get(gate.gateway, "/x", "").status, 502);
}

#[test]
fn weights_share_out_the_requests() {
    let peers = [Upstream::start(), Upstream::start()];
    let gate = gate(&format!(
        "peers = [{{ address = '{}', weight = 3 }}, '{}']\n",
        peers[0].address, peers[1].address
    ));
    for _ in 0..40 {
        assert_eq!(get(gate.gateway, "/x", "").status, 200);
    }
    assert_eq!(peers.map(|peer| peer.seen().len()), [30, 10]);
}

#[test]
fn hash_sends_a_client_to_the_same_peer() {
    let peers: Vec<Upstream> = (0..3).map(|_| Upstream::start()).collect();
    let addresses: Vec<String> = peers.iter().map(|it| format!("'{}'", it.address)).collect();
    let gate = Gate::start(&format!(
        "proxy_protocol = ['127.0.0.1']\n{}",
        configuration(&format!(
            "peers = [{}]\nbalance = 'hash'\n",
            addresses.join(", ")
        ))
    ));
    let served_by = |client: &str| {
        let before: Vec<usize> = peers.iter().map(|peer| peer.seen().len()).collect();
        let mut stream = TcpStream::connect(gate.gateway).unwrap();
        let request = format!(
            "PROXY TCP4 {client} 192.0.2.1 1 80\r\nGET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(parse(&answer).status, 200);
        peers
            .iter()
            .zip(before)
            .position(|(peer, before)| peer.seen().len() > before)
            .unwrap()
    };
    let mut used = BTreeSet::new();
    // The positions of the peers on the ring depend on their ports; few clients might all be
    // assigned to the same two.
    for n in 0..100 {
        let client = format!("203.0.113.{n}");
        let first = served_by(&client);
        assert_eq!(served_by(&client), first);
        used.insert(first);
    }
    assert_eq!(used.len(), 3);
}

#[test]
fn least_busy_peer_is_next() {
    let (slow, quick) = (
        Upstream::start_slow(Duration::from_secs(8)),
        Upstream::start(),
    );
    let gate = gate(&format!(
        "peers = ['{}', '{}']\nbalance = 'least-busy'\n",
        slow.address, quick.address
    ));
    let address = gate.gateway;
    let held: Vec<_> = (0..4)
        .map(|_| thread::spawn(move || get(address, "/x", "").status))
        .collect();
    // Of concurrent requests, either peer may get several.
    until("all of them are there", || {
        slow.seen().len() + quick.seen().len() == held.len() && !slow.seen().is_empty()
    });
    let before = slow.seen().len();
    for _ in 0..10 {
        assert_eq!(get(address, "/x", "").status, 200);
    }
    assert_eq!(slow.seen().len(), before);
    assert!(held.into_iter().all(|it| it.join().unwrap() == 200));
}

#[test]
fn peer_that_rejects_is_passed_over_and_ejected() {
    let (dead, good) = (Port::reserve(), Upstream::start());
    let gate = gate(&format!(
        "peers = ['{}', '{}']\neject_failures = 2\neject_time = '1h'\n",
        dead.address, good.address
    ));
    for _ in 0..20 {
        assert_eq!(send(gate.gateway, "POST", "/x", "", "body").status, 200);
    }
    assert_eq!(good.seen().len(), 20);
    assert!(
        gate.log().contains("gets no requests for a while"),
        "{}",
        gate.log()
    );
    assert_eq!(
        gate.log().matches("connecting to a peer failed").count(),
        2,
        "{}",
        gate.log()
    );
}

#[test]
fn ejected_peer_returns_and_the_last_is_never_given_up() {
    let port = Port::reserve();
    let gate = gate(&format!(
        "peers = ['{}']\neject_failures = 1\neject_time = '1h'\n",
        port.address
    ));
    assert_eq!(get(gate.gateway, "/x", "").status, 502);
    let _back = Upstream::start_at(port.address);
    assert_eq!(get(gate.gateway, "/x", "").status, 200);
    let (port, good) = (Port::reserve(), Upstream::start());
    let gate = self::gate(&format!(
        "peers = ['{}', '{}']\neject_failures = 1\neject_time = '100ms'\n",
        port.address, good.address
    ));
    until("the dead peer is ejected", || {
        get(gate.gateway, "/x", "");
        gate.log().contains("gets no requests")
    });
    let back = Upstream::start_at(port.address);
    until("it is asked again", || {
        assert_eq!(get(gate.gateway, "/x", "").status, 200);
        !back.seen().is_empty()
    });
}

#[test]
fn only_peer_is_not_reported_as_ejected() {
    let ports = [Port::reserve(), Port::reserve()];
    let (one, other) = (ports[0].address, ports[1].address);
    let settings = "eject_failures = 1\neject_time = '1h'\n";
    let lone = gate(&format!("peers = ['{one}']\n{settings}"));
    let both = gate(&format!("peers = ['{one}', '{other}']\n{settings}"));
    for (gate, ejections) in [(&lone, 0), (&both, 1)] {
        for _ in 0..5 {
            assert_eq!(get(gate.gateway, "/x", "").status, 502);
        }
        let metrics = get(gate.metrics(), "/metrics", "").body;
        let count = format!("realmgate_upstream_ejections_total{{upstream=\"app\"}} {ejections}");
        assert!(metrics.contains(&count), "{metrics}");
        assert_eq!(gate.log().matches("gets no requests").count(), ejections);
    }
}

/// Responds to one request on each connection, and breaks the connection on the second. Counts all.
fn fickle() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, counted) = (stream.unwrap(), Arc::clone(&counted));
            thread::spawn(move || {
                for is_first in [true, false] {
                    if read_message(&mut stream).is_none() {
                        return;
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                    if is_first {
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        stream.write_all(answer).unwrap();
                    }
                }
            });
        }
    });
    (address, count)
}

#[test]
fn only_idempotent_requests_are_sent_twice() {
    for (method, expected, seen) in [("GET", 200, 3), ("PUT", 200, 3), ("POST", 502, 2)] {
        let (address, count) = fickle();
        let gate = gate(&format!("peers = ['{address}']\n[log]\naccess = 'all'\n"));
        assert_eq!(get(gate.gateway, "/x", "").status, 200);
        // Before the access line, the connection to the peer was kept.
        until("the access line", || gate.log().contains(" ACCESS "));
        let reply = send(gate.gateway, method, "/x", "", "body");
        assert_eq!(reply.status, expected, "{method}");
        assert_eq!(count.load(Ordering::SeqCst), seen, "{method}");
    }
}

#[test]
fn connecting_is_tried_as_often_as_configured() {
    let ports = [Port::reserve(), Port::reserve(), Port::reserve()];
    let peers = ports
        .each_ref()
        .map(|port| format!("'{}'", port.address))
        .join(", ");
    for (tries, expected) in [("tries = 1\n", 1), ("", 3), ("tries = 7\n", 7)] {
        let gate = gate(&format!("peers = [{peers}]\n{tries}"));
        let reply = get(gate.gateway, "/x", "");
        assert_eq!(
            (reply.status, &*reply.body),
            (502, "upstream unavailable\n")
        );
        assert_eq!(
            gate.log().matches("connecting to a peer failed").count(),
            expected
        );
    }
}

#[test]
fn peer_may_be_a_socket_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let host = field(&head, "Host").unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{host}",
                host.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let gate = gate(&format!("peers = ['unix:{}']\n", path.display()));
    assert_eq!(get(gate.gateway, "/x", "").body, "app.example");
}

#[test]
fn names_are_looked_up_again_without_harm() {
    let good = Upstream::start();
    let gate = gate(&format!(
        "peers = ['localhost:{}']\nresolve_interval = '50ms'\nhealth_check = 'tcp'\n",
        good.address.port()
    ));
    // Many lookups later, the peer is still the same, and its health is known.
    let mut asked = 0;
    until("time has passed", || {
        assert_eq!(get(gate.gateway, "/x", "").status, 200);
        asked += 1;
        asked > 60
    });
    assert!(!gate.log().contains("WARN"), "{}", gate.log());
}
