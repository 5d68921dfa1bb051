//! Peers that do not answer get no requests, until they do.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use crate::harness::{Gate, Upstream, get, read_message, until};
use crate::port::Port;

fn open_to_all(peers: &[SocketAddr], check: &str) -> String {
    let peers: Vec<String> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
    format!(
        "[[route]]\nname = \"all\"\nallow = \"anyone\"\nupstream = \"app\"\n\
         [upstream.app]\npeers = [{}]\nhealth_interval = \"100ms\"\nhealth_check = \"{check}\"\n",
        peers.join(", ")
    )
}

/// Answers every request with 500.
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
fn peer_that_ails_gets_no_requests() {
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
fn no_healthy_peer_is_503_and_one_that_returns_is_asked_again() {
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
