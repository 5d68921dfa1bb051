//! The memory of connections that wait for a request.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::certificate::certificate;
use crate::harness::{Gate, PATIENCE, Upstream, get};

/// The connections that are opened, and those before that pay for everything that is allocated once.
const CONNECTIONS: usize = 2000;
const FIRST: usize = 200;

/// What an idle connection may take in a debug build, in bytes. `bench/idle` has what it takes in a
/// release build.
const HTTP: u64 = 12 << 10;
const TLS: u64 = 24 << 10;

/// Returns the memory of a process in bytes.
fn memory(gate: &Gate) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim_end_matches("kB").trim();
    kilobytes.parse::<u64>().unwrap() * 1024
}

fn gate(transport: &str, more: &str) -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let address = upstream.address;
    let gate = Gate::start(&format!(
        "{transport}\n[limits]\nconnections_per_address = 4000\n[timeouts]\nkeep_alive = \"1h\"\n{more}\n\
         [[route]]\nname = \"all\"\nallow = \"anyone\"\nupstream = \"app\"\n\
         [upstream.app]\npeers = [\"{address}\"]\n"
    ));
    (gate, upstream)
}

/// Opens connections, sends a request over each, and reads its response.
fn open<S: Read + Write>(count: usize, mut connect: impl FnMut() -> S) -> Vec<S> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut stream = connect();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let mut response = Vec::new();
        while !response.windows(4).any(|part| part == b"\r\n\r\n") {
            let mut part = [0; 4096];
            let length = stream.read(&mut part).unwrap();
            assert!(length > 0, "closed after {response:?}");
            response.extend_from_slice(&part[..length]);
        }
        assert!(response.starts_with(b"HTTP/1.1 200 "));
        all.push(stream);
    }
    all
}

/// Asserts that idle connections take at most `bound` bytes each. Memory that is not needed any more goes
/// back to the system after a while.
fn assert_small<S: Read + Write>(gate: &Gate, bound: u64, mut connect: impl FnMut() -> S) {
    let files = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: files.maximum,
        ..files
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let _first = open(FIRST, &mut connect);
    let before = memory(gate);
    let _idle = open(CONNECTIONS, &mut connect);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let each = memory(gate).saturating_sub(before) / CONNECTIONS as u64;
        if each <= bound {
            return;
        }
        assert!(Instant::now() < deadline, "{each} bytes");
        thread::sleep(Duration::from_millis(100));
        // The allocator returns memory when it is used.
        assert_eq!(get(gate.metrics.unwrap(), "/healthz", "").status, 200);
    }
}

fn plain(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn idle_connection_of_the_service_takes_little_memory() {
    let (gate, _upstream) = gate("", "");
    assert_small(&gate, HTTP, || plain(gate.service));
}

#[test]
fn idle_connection_of_the_proxy_takes_little_memory() {
    let (gate, _upstream) = gate("", "");
    assert_small(&gate, HTTP, || plain(gate.gateway));
}

#[test]
fn idle_connection_with_tls_takes_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    let files = format!("[[certificate]]\ncert = '{cert}'\nkey = '{key}'");
    let (gate, _upstream) = gate("tls = true", &files);
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&cert).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let name = ServerName::try_from("127.0.0.1").unwrap();
    assert_small(&gate, TLS, || {
        let session = ClientConnection::new(Arc::clone(&config), name.clone()).unwrap();
        StreamOwned::new(session, plain(gate.gateway))
    });
}
