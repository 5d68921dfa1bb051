//! Edge cases of front proxies: addresses, timeouts, unusual methods, long names.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{Program, Rig};
use crate::harness::{PATIENCE, Reply, field, parse, raw, until};

const SERVICE: [u8; 4] = [127, 0, 0, 9];
const STRANGER: [u8; 4] = [127, 0, 0, 66];

/// Sends a request from a source address.
fn get_from(source: [u8; 4], rig: &Rig, fields: &str) -> Reply {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SockAddr::from(SocketAddr::from((source, 0))))
        .unwrap();
    socket.connect(&SockAddr::from(rig.address())).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        format!("GET /api HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    parse(&answer)
}

/// The front proxy names the client: failures from another address do not count for a service that
/// has authenticated at its own. A client cannot claim another address.
pub(super) fn stranger_at_another_address_locks_no_service_out(program: Program) {
    let rig = Rig::start(program);
    assert_eq!(get_from(SERVICE, &rig, &rig.billing.fields()).status, 200);
    let pretends = "X-Forwarded-For: 127.0.0.9\r\nX-Real-IP: 127.0.0.9\r\n\
        X-Envoy-External-Address: 127.0.0.9\r\nForwarded: for=127.0.0.9\r\n";
    let fail = || {
        let wrong = rig.billing.fields_with(&rig.billing.wrong_token());
        let reply = get_from(STRANGER, &rig, &format!("{pretends}{wrong}"));
        assert_eq!(reply.status, 401);
    };
    for _ in 0..20 {
        fail();
    }
    // Failures are counted: the stranger is throttled, even with a correct token. The first delay is
    // a second, which can pass on a slow machine; each further failure doubles it.
    until("the stranger is throttled", || {
        fail();
        let right = format!("{pretends}{}", rig.billing.fields());
        get_from(STRANGER, &rig, &right).status == 401
    });
    assert_eq!(get_from(SERVICE, &rig, &rig.billing.fields()).status, 200);
    let log = rig.gate.log();
    assert!(!log.contains("names no address of its clients"), "{log}");
}

/// A process that accepts connections but does not respond delays a request for some 5 seconds.
/// Traefik has no setting for it, and gives up after 30.
pub(super) fn request_to_a_hung_realmgate_times_out(program: Program) {
    let rig = Rig::start(program);
    let pid = rig.gate.child.id().to_string();
    let stopped = Command::new("kill").args(["-s", "STOP", &pid]).status();
    assert!(stopped.unwrap().success());
    until("realmgate has stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(") T ")
    });
    let (least, most) = match program {
        Program::Traefik => (20, 55),
        // nginx, for example, waits for 5 seconds.
        _ => (2, 25),
    };
    let began = Instant::now();
    let mut stream = TcpStream::connect(rig.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(most)))
        .unwrap();
    let request = format!(
        "GET /api HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{}\r\n",
        rig.billing.fields()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let took = began.elapsed().as_secs();
    assert!(
        (least..=most).contains(&took),
        "{took} s: {}",
        rig.front.log()
    );
    let reply = parse(&answer);
    assert!(matches!(reply.status, 403 | 500..=504), "{reply:?}");
    rig.nothing_passed();
}

/// TRACE would return the headers that the front proxy adds; CONNECT would open a tunnel past all
/// decisions.
pub(super) fn trace_and_connect_never_arrive(program: Program) {
    let rig = Rig::start(program);
    for credential in [String::new(), rig.billing.fields()] {
        for line in [
            "TRACE /public/x",
            "TRACE /api",
            "CONNECT app.example:80",
            "CONNECT /public/x",
        ] {
            let request = format!(
                "{line} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{credential}\r\n"
            );
            let reply = raw(rig.address(), request.as_bytes());
            assert!((400..600).contains(&reply.status), "{line}: {reply:?}");
        }
    }
    rig.nothing_passed();
}

/// 128 characters of four bytes become 1,536 bytes in a header, and name and realm occur twice.
pub(super) fn longest_name_passes(program: Program) {
    let rig = Rig::start(program);
    let (name, realm) = ("\u{1f511}".repeat(128), "\u{1f512}".repeat(128));
    let who = rig.gate.register(&name, &realm);
    let reply = raw(
        rig.address(),
        format!(
            "GET /api HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{}\r\n",
            who.fields()
        )
        .as_bytes(),
    );
    assert_eq!(reply.status, 200, "{}", rig.front.log());
    let seen = rig.app.seen().pop().unwrap();
    let encoded = "%F0%9F%94%91".repeat(128);
    assert_eq!(field(&seen, "X-Auth-Name"), Some(&*encoded));
    assert_eq!(field(&seen, "X-Forwarded-User").unwrap().len(), 3073);
}
