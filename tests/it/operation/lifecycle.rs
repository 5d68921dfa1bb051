//! The life of a process, from the first connection to the last.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::port::Port;
use crate::harness::{
    Gate, PATIENCE, Upstream, configuration, get, parse, realmgate, routes, stderr, until,
};

fn connect(address: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn request_in_flight_is_answered_after_the_signal() {
    let upstream = Upstream::start_slow(Duration::from_secs(2));
    let mut gate = Gate::start(&routes(upstream.address));
    let address = gate.gateway;
    let request = thread::spawn(move || get(address, "/public/slow", ""));
    until("the upstream has it", || upstream.seen().len() == 1);
    gate.signal("TERM");
    let reply = request.join().unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("/public/slow"));
    until("the end", || gate.child.try_wait().unwrap().is_some());
    assert!(gate.child.wait().unwrap().success());
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn request_half_sent_at_the_signal_is_answered() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let mut stream = connect(gate.gateway);
    stream
        .write_all(b"GET /public HTTP/1.1\r\nHost: a\r\n")
        .unwrap();
    // The first half must arrive before the signal, and the second half after it.
    gate.wait_until_idle();
    gate.signal("TERM");
    until("it shuts down", || gate.log().contains("shutting down"));
    stream.write_all(b"\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let reply = parse(&bytes);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("Connection"), Some("close"));
}

#[test]
fn idle_connections_do_not_hold_up_the_end() {
    let upstream = Upstream::start();
    let mut gate = Gate::start(&with_grace("1h", &upstream));
    let mut idle = connect(gate.gateway);
    idle.write_all(b"GET /public HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut buffer = [0; 64];
    assert!(idle.read(&mut buffer).unwrap() > 0);
    let _silent = connect(gate.service);
    gate.signal("TERM");
    // The grace is longer.
    until("the end", || gate.child.try_wait().unwrap().is_some());
}

/// Sends a request that does not end. Returns the connection once the upstream has received it.
fn ask_for_ever(gate: &Gate, upstream: &Upstream) -> TcpStream {
    let mut stream = connect(gate.gateway);
    stream
        .write_all(b"GET /public HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    until("the upstream has it", || !upstream.seen().is_empty());
    stream
}

fn with_grace(grace: &str, upstream: &Upstream) -> String {
    let rules = routes(upstream.address);
    format!("[shutdown]\ngrace = \"{grace}\"\n{rules}")
}

#[test]
fn grace_bounds_the_end() {
    let upstream = Upstream::start_slow(PATIENCE * 2);
    let mut gate = Gate::start(&with_grace("1s", &upstream));
    let _stream = ask_for_ever(&gate, &upstream);
    gate.signal("TERM");
    until("the end", || gate.child.try_wait().unwrap().is_some());
    assert!(gate.child.wait().unwrap().success());
    assert!(
        gate.log().contains("shutdown.grace expired"),
        "{}",
        gate.log()
    );
    assert!(gate.log().contains("connections=1"), "{}", gate.log());
}

#[test]
fn second_signal_ends_at_once_with_a_code_of_its_own() {
    for (first, second) in [("TERM", "TERM"), ("TERM", "INT"), ("INT", "TERM")] {
        let upstream = Upstream::start_slow(PATIENCE * 2);
        let mut gate = Gate::start(&with_grace("1h", &upstream));
        let _stream = ask_for_ever(&gate, &upstream);
        gate.signal(first);
        until("it shuts down", || gate.log().contains("shutting down"));
        gate.signal(second);
        until("the end", || gate.child.try_wait().unwrap().is_some());
        assert_eq!(gate.child.wait().unwrap().code(), Some(4));
        assert!(gate.log().contains("connections=1"), "{}", gate.log());
    }
}

#[test]
fn web_socket_lives_through_the_grace_and_is_cut_and_counted_after_it() {
    let upstream = Upstream::start();
    let mut gate = Gate::start(&with_grace("4s", &upstream));
    let mut socket = connect(gate.gateway);
    socket
        .write_all(
            b"GET /public HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let mut head = Vec::new();
    let mut buffer = [0; 1];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut buffer).unwrap();
        head.extend_from_slice(&buffer);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    gate.signal("TERM");
    until("it shuts down", || gate.log().contains("shutting down"));
    until("nobody accepts", || {
        TcpStream::connect(gate.gateway).is_err()
    });
    socket.write_all(b"?").unwrap();
    socket.read_exact(&mut buffer).unwrap();
    assert_eq!(buffer, *b"?");
    // The stream ends or is reset.
    assert!(matches!(socket.read(&mut buffer), Ok(0) | Err(_)));
    until("the end", || gate.child.try_wait().unwrap().is_some());
    assert!(gate.child.wait().unwrap().success());
    assert!(gate.log().contains("connections=1"), "{}", gate.log());
}

#[test]
fn stream_without_an_end_is_cut_at_the_end_of_the_grace() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let rules = routes(listener.local_addr().unwrap());
    let drip = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while sent.is_ok() {
            thread::sleep(Duration::from_millis(20));
            sent = stream.write_all(b"1\r\nx\r\n");
        }
    });
    let mut gate = Gate::start(&format!("[shutdown]\ngrace = \"1s\"\n{rules}"));
    let mut stream = connect(gate.gateway);
    stream
        .write_all(b"GET /public HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert!(stream.read(&mut [0; 64]).unwrap() > 0);
    gate.signal("TERM");
    // The peer notices that the connection is gone.
    drip.join().unwrap();
    until("the end", || gate.child.try_wait().unwrap().is_some());
    assert!(gate.child.wait().unwrap().success());
    assert!(gate.log().contains("connections=1"), "{}", gate.log());
}

#[test]
fn keep_alive_connections_serve_many_requests() {
    let gate = Gate::start("");
    let caller = gate.register("a", "r");
    let mut stream = connect(gate.service);
    for fields in [caller.fields(), String::new(), caller.fields()] {
        let request = format!("GET /forward-auth HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let mut buffer = [0; 1024];
        while !bytes.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "closed");
            bytes.extend_from_slice(&buffer[..read]);
        }
        let expected = if fields.is_empty() { 401 } else { 200 };
        assert_eq!(parse(&bytes).status, expected);
    }
}

#[test]
fn idle_connection_is_closed_after_keep_alive() {
    let gate = Gate::start("[timeouts]\nkeep_alive = \"1s\"\n");
    let mut stream = connect(gate.service);
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(parse(&bytes).status, 200);
}

#[test]
fn connection_that_must_not_be_kept_is_closed_at_once() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        "[timeouts]\nkeep_alive = \"1h\"\n{}",
        routes(upstream.address)
    ));
    let framed_twice = "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /public/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (address, request) in [
        (gate.gateway, "GET /public HTTP/1.0\r\n\r\n"),
        (gate.gateway, framed_twice),
        (gate.service, "GET /healthz HTTP/1.0\r\n\r\n"),
        (
            gate.service,
            "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ),
    ] {
        let mut stream = connect(address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // This returns only when the peer closes the connection; a persistent one would time out.
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(parse(&bytes).status, 200, "{request}");
    }
    assert!(
        !upstream
            .seen()
            .iter()
            .any(|seen| seen.contains("GET /public/smuggled"))
    );
}

#[test]
fn inherited_sockets_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    std::fs::write(&config, configuration(folder.path(), "")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // A shell passes the socket as a service manager would, with the process's own id.
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_FDNAMES=gateway LISTEN_PID=$$ exec \"$0\" serve --config \"$1\" --ready-file \"$2\"";
    let ready = folder.path().join("ready.json");
    let mut child = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(realmgate(&[]).get_program())
        .arg(&config)
        .arg(&ready)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("ready", || ready.exists());
    let text = std::fs::read_to_string(&ready).unwrap();
    let reply = get(address, "/", "");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        text.contains(&format!(r#""gateway":"{address}""#)),
        "{text}"
    );
    assert_eq!((reply.status, &*reply.body), (404, "no route\n"));
}

#[test]
fn inherited_socket_that_does_not_listen_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    std::fs::write(&config, configuration(folder.path(), "")).unwrap();
    for name in ["service", "gateway", "grpc", "metrics", "admin"] {
        // It is bound, but does not listen.
        let socket = Port::reserve();
        let script = format!(
            "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_FDNAMES={name} LISTEN_PID=$$ \
             exec \"$0\" serve --config \"$1\""
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .arg(realmgate(&[]).get_program())
            .arg(&config)
            .stdin(Stdio::from(socket.share()))
            .output()
            .unwrap();
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{error}");
        assert!(
            error.contains(&format!(
                "the inherited socket \"{name}\" cannot be used: not a listening socket"
            )),
            "{error}"
        );
    }
}

/// The same as a shell would start it without a umask.
fn start_without_umask(config: &std::path::Path, ready: &std::path::Path) -> std::process::Child {
    std::process::Command::new("sh")
        .args([
            "-c",
            "umask 0; exec \"$0\" serve --config \"$1\" --ready-file \"$2\"",
        ])
        .arg(realmgate(&[]).get_program())
        .arg(config)
        .arg(ready)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A directory with a configuration that writes every possible file.
fn with_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let more = format!(
        "[log]\naccess = 'all'\naccess_file = '{}'\n[audit]\nfile = '{}'\n",
        path("access"),
        path("audit")
    );
    std::fs::write(path("realmgate.toml"), configuration(folder.path(), &more)).unwrap();
    folder
}

#[test]
fn files_are_for_their_owner_and_group_whatever_the_umask() {
    let folder = with_files();
    let path = |name: &str| folder.path().join(name);
    let ready = path("ready.json");
    let mut child = start_without_umask(&path("realmgate.toml"), &ready);
    until("ready", || ready.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    for (name, expected) in [
        ("ready.json", 0o640),
        ("access", 0o640),
        ("audit", 0o600),
        ("audit.head", 0o600),
        ("realmgate.db", 0o600),
        ("realmgate.key", 0o600),
    ] {
        let mode = std::fs::metadata(path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, expected, "{name} {mode:o}");
    }
    assert!(!path("ready.json.new").exists());
}

#[test]
fn files_are_not_written_through_a_symbolic_link() {
    for (name, reported) in [
        (
            "ready.json",
            "ready.json: cannot be written: is a symbolic link",
        ),
        ("access", "access: is a symbolic link"),
        (
            "audit",
            "audit: cannot be read and written: is a symbolic link",
        ),
        (
            "audit.head",
            "audit: cannot be read and written: is a symbolic link",
        ),
    ] {
        let folder = with_files();
        let path = |name: &str| folder.path().join(name);
        for victim in ["victim", "missing"] {
            std::fs::write(path("victim"), "untouched").unwrap();
            let _ = std::fs::remove_file(path(name));
            std::os::unix::fs::symlink(path(victim), path(name)).unwrap();
            let child = start_without_umask(&path("realmgate.toml"), &path("ready.json"));
            let output = child.wait_with_output().unwrap();
            let error = stderr(&output);
            assert!(!output.status.success(), "{name}: {error}");
            assert!(error.contains(reported), "{name}: {error}");
            assert_eq!(std::fs::read(path("victim")).unwrap(), b"untouched");
            assert!(!path("missing").exists(), "{name}");
        }
    }
}

/// Its temporary file has a predictable name.
#[test]
fn link_with_the_name_of_the_temporary_ready_file_is_not_followed() {
    let folder = with_files();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("victim"), "untouched").unwrap();
    std::os::unix::fs::symlink(path("victim"), path("ready.json.new")).unwrap();
    let mut child = start_without_umask(&path("realmgate.toml"), &path("ready.json"));
    until("ready", || path("ready.json").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(std::fs::read(path("victim")).unwrap(), b"untouched");
}

#[test]
fn certificates_of_the_system_that_cannot_be_read_stop_nothing() {
    let upstream = Upstream::start();
    let broken = [
        ("SSL_CERT_DIR", "/nonexistent"),
        ("SSL_CERT_FILE", "/dev/null"),
    ];
    let rules = routes(upstream.address) + "health_check = \"/healthz\"\n";
    let gate = Gate::start_with(&broken, &rules);
    assert_eq!(get(gate.gateway, "/public/x", "").status, 200);
}

/// Sends a request over a connection. Fails if it ends without a response.
fn ask(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    assert_eq!(parse(&reply).status, 200);
    Ok(())
}

#[test]
fn connections_that_wait_to_be_accepted_at_the_signal_are_answered() {
    let mut gate = Gate::start("");
    // While the process is stopped, the kernel accepts connections and queues them.
    gate.signal("STOP");
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = connect(gate.service);
            stream.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    gate.signal("TERM");
    gate.signal("CONT");
    let mut reset = 0;
    for mut stream in waiting {
        let rest = b"Host: a\r\nConnection: close\r\n\r\n";
        let mut reply = Vec::new();
        let sent = stream.write_all(rest);
        match sent.and_then(|()| stream.read_to_end(&mut reply)) {
            Ok(_) if !reply.is_empty() => assert_eq!(parse(&reply).status, 200),
            _ => reset += 1,
        }
    }
    assert_eq!(reset, 0);
    until("the end", || gate.child.try_wait().unwrap().is_some());
}

#[test]
fn clients_that_connect_during_the_end_are_answered_or_rejected_and_never_reset() {
    let mut gate = Gate::start("");
    let address = gate.service;
    let begun = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let begun = Arc::clone(&begun);
            thread::spawn(move || {
                let (mut answered, mut reset) = (0, 0);
                // A client that is not accepted retries after a second, and is refused.
                while let Ok(stream) = TcpStream::connect_timeout(&address, PATIENCE) {
                    match ask(stream) {
                        Ok(()) => answered += 1,
                        Err(_) => reset += 1,
                    }
                    begun.fetch_add(1, Ordering::Relaxed);
                }
                (answered, reset)
            })
        })
        .collect();
    until("they connect all the time", || {
        begun.load(Ordering::Relaxed) > 100
    });
    gate.signal("TERM");
    let (mut answered, mut reset) = (0, 0);
    for client in clients {
        let (more, worse) = client.join().unwrap();
        answered += more;
        reset += worse;
    }
    assert!(answered > 100, "{answered}");
    assert_eq!(reset, 0, "of {answered}");
    until("the end", || gate.child.try_wait().unwrap().is_some());
}
