//! Unhealthy peers get no requests until they recover.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use crate::harness::port::Port;
use crate::harness::{Gate, Upstream, field, get, read_message, until};

fn open_to_all(peers: &[SocketAddr], check: &str) -> String {
    let peers: Vec<String> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
    format!(
        "[[route]]\nname = \"all\"\nallow = \"anyone\"\nupstream = \"app\"\n\
         [upstream.app]\npeers = [{}]\nhealth_interval = \"100ms\"\nhealth_check = \"{check}\"\n",
        peers.join(", ")
    )
}

/// Responds to every request with 500.
fn ailing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                while read_message(&mut stream).is_some() {
                    let answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn unhealthy_peer_gets_no_requests() {
    let good = Upstream::start();
    let gate = Gate::start(&open_to_all(&[ailing(), good.address], "/healthz"));
    until("only the good peer is asked", || {
        (0..10).all(|_| get(gate.gateway, "/x", "").status == 200)
    });
    let asked = good.seen();
    let check = asked.iter().find(|it| it.starts_with("GET /healthz "));
    assert!(check.is_some(), "{asked:?}");
}

#[test]
fn no_healthy_peer_is_503_and_a_recovered_peer_gets_requests() {
    let port = Port::reserve();
    let address = port.address;
    let gate = Gate::start(&open_to_all(&[address], "tcp"));
    until("the peer counts as gone", || {
        let reply = get(gate.gateway, "/x", "");
        (reply.status, &*reply.body) == (503, "no upstream is healthy\n")
    });
    let _back = Upstream::start_at(address);
    until("the peer is asked again", || {
        get(gate.gateway, "/x", "").status == 200
    });
}

#[test]
fn reload_ends_the_checks_of_upstreams_that_are_gone() {
    let (old, new) = (Upstream::start(), Upstream::start());
    let rules = open_to_all(&[old.address], "/healthz");
    let gate = Gate::start(&rules);
    until("the old peer is asked", || !old.seen().is_empty());
    let text = std::fs::read_to_string(gate.config()).unwrap();
    let text = text.replace(&old.address.to_string(), &new.address.to_string());
    std::fs::write(gate.config(), text).unwrap();
    gate.signal("HUP");
    until("the new peer is asked", || new.seen().len() > 3);
    let before = old.seen().len();
    until("time has passed", || new.seen().len() > 10);
    assert!(old.seen().len() <= before + 1);
}

/// Returns the `Host` of the first health check with these settings.
fn host_of_checks(route: &str, settings: &str, peer: impl Fn(&Upstream) -> String) -> String {
    let upstream = Upstream::start();
    let _gate = Gate::start(&format!(
        "[[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'app'\n{route}\n[upstream.app]\n\
         peers = ['{}']\nhealth_check = '/healthz'\n{settings}",
        peer(&upstream)
    ));
    until("the peer is asked", || !upstream.seen().is_empty());
    let seen = upstream.seen().remove(0);
    field(&seen, "Host").unwrap().to_owned()
}

#[test]
fn health_check_has_the_host_of_requests() {
    let plain = |it: &Upstream| it.address.to_string();
    let host = host_of_checks(
        "upstream_host = 'app.internal'",
        "health_host = 'up.internal:8'",
        plain,
    );
    assert_eq!(host, "up.internal:8");
    let host = host_of_checks("upstream_host = 'app.internal'", "", plain);
    assert_eq!(host, "app.internal");
    let host = host_of_checks("", "", plain);
    assert!(host.starts_with("127.0.0.1:"), "{host}");
    let host = host_of_checks("", "", |it| format!("localhost:{}", it.address.port()));
    assert!(host.starts_with("localhost:"), "{host}");
}

#[test]
fn loss_and_return_of_health_are_logged_with_their_reason() {
    let port = Port::reserve();
    let gate = Gate::start(&open_to_all(&[port.address], "/healthz"));
    until("the loss", || gate.log().contains("a peer is not healthy"));
    let _back = Upstream::start_at(port.address);
    until("the return", || {
        gate.log().contains("a peer is healthy again")
    });
    let ailing = ailing();
    let other = Gate::start(&open_to_all(&[ailing], "/healthz"));
    until("the loss", || other.log().contains("a peer is not healthy"));
    let log = gate.log();
    let line = log
        .lines()
        .find(|line| line.contains("is not healthy"))
        .unwrap();
    let fields = format!(
        "upstream=\"app\" peer={} reason=ConnectRefused",
        port.address
    );
    assert!(line.contains(&fields), "{line}");
    let line = log
        .lines()
        .find(|line| line.contains("healthy again"))
        .unwrap();
    assert!(
        line.contains(&format!("upstream=\"app\" peer={}", port.address)),
        "{line}"
    );
    assert!(
        other.log().contains("reason=\"answered with 500\""),
        "{}",
        other.log()
    );
    // No debug output of another crate.
    assert!(!log.contains("Backend {"), "{log}");
}
