//! Everything before HTTP: TLS with the real curl and openssl, HTTP/2, the PROXY protocol.

mod clients;
mod flood;
mod forms;
mod h2spec;
mod hostile;
mod http2;
mod idle;
mod limits;
mod one_port;
mod proxy_protocol;
mod service;
mod slow;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::harness::certificate::Ca;
use crate::harness::{
    self, Gate, PATIENCE, Upstream, field, get, realmgate, routes, stderr, stdout, until,
};

/// Returns the configuration of a gateway with TLS, with `more` in its section.
fn tls(certificates: &[&(String, String)], more: &str, rest: &str) -> String {
    let certificate = |(cert, key): &&(String, String)| {
        format!("[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n")
    };
    let certificates: String = certificates.iter().map(certificate).collect();
    format!("tls = true\n{more}\n{certificates}{rest}")
}

/// Sends a request to a host at an address with curl, which trusts only `ca`.
fn curl(ca: &Ca, host: &str, at: SocketAddr, path: &str, args: &[&str]) -> Output {
    harness::curl()
        .args(["--cacert", &ca.file()])
        .args(["--resolve", &format!("{host}:{}:{}", at.port(), at.ip())])
        .args(args)
        .arg(format!("https://{host}:{}{path}", at.port()))
        .output()
        .unwrap_or_else(|error| panic!("curl: {error}; run scripts/setup test"))
}

/// A persistent connection made by openssl.
struct Open {
    child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Open {
    fn new(ca: &Ca, host: &str, at: SocketAddr, args: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-verify_return_error",
                "-CAfile",
                &ca.file(),
            ])
            .args(["-servername", host, "-verify_hostname", host])
            .args(["-connect", &at.to_string()])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("openssl: {error}; run scripts/setup test"));
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines() {
                if line.is_err() || line.is_ok_and(|line| sender.send(line).is_err()) {
                    return;
                }
            }
        });
        let input = child.stdin.take().unwrap();
        Self {
            child,
            input,
            lines,
        }
    }

    /// Sends a request, and returns the status line of the response.
    fn get(&mut self, path: &str, fields: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
        self.input.write_all(request.as_bytes()).unwrap();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            // The previous body may not end with a line end.
            if let Some((_, rest)) = line.split_once("HTTP/1.1 ") {
                return rest.to_owned();
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn certificate_is_chosen_by_name() {
    let ca = Ca::new();
    let first = ca.issue("first", "/CN=first", "DNS:a.example,DNS:www.a.example");
    let second = ca.issue("second", "/CN=second", "DNS:*.B.example");
    let gate = Gate::start(&tls(&[&first, &second], "", ""));
    for host in ["a.example", "www.a.example", "A.EXAMPLE", "x.b.example"] {
        let output = curl(&ca, host, gate.gateway, "/", &[]);
        assert_eq!(stdout(&output), "no route\n", "{host}: {}", stderr(&output));
    }
    for host in ["b.example", "x.y.b.example", "c.example"] {
        let output = curl(&ca, host, gate.gateway, "/", &[]);
        assert_eq!(
            output.status.code(),
            Some(60),
            "{host}: {}",
            stderr(&output)
        );
        // They get the first certificate, which does not match.
        let output = curl(&ca, host, gate.gateway, "/", &["--insecure"]);
        assert_eq!(stdout(&output), "no route\n");
    }
}

#[test]
fn upstream_sees_the_scheme_of_the_client() {
    let ca = Ca::new();
    let server = ca.issue("a", "/CN=a", "DNS:a.example");
    let upstream = Upstream::start();
    let gate = Gate::start(&tls(&[&server], "", &routes(upstream.address)));
    let caller = gate.register("billing", "payments");
    let token = format!("X-Auth-Token: {}", caller.token());
    for version in ["--http1.1", "--http2"] {
        let output = curl(
            &ca,
            "a.example",
            gate.gateway,
            "/x?y=1",
            &[
                version,
                "-w",
                "%{http_version}",
                "-H",
                "X-Auth-Name: billing",
                "-H",
                "X-Auth-Realm: payments",
                "-H",
                &token,
                "-H",
                "X-Forwarded-Proto: http",
                "-H",
                "X-Client-Subject: CN=root",
                "-H",
                "X_Client_Subject: CN=root",
            ],
        );
        let text = stdout(&output);
        assert!(
            text.starts_with("GET /x?y=1 HTTP/1.1\r\n"),
            "{text}{}",
            stderr(&output)
        );
        let spoken = if version == "--http2" { "2" } else { "1.1" };
        assert!(text.ends_with(&format!("\r\n\r\n{spoken}")), "{text}");
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(field(&seen, "X-Forwarded-Proto"), Some("https"));
        assert_eq!(field(&seen, "X-Auth-Name"), Some("billing"));
        assert_eq!(field(&seen, "X-Auth-Token"), None);
        assert!(!seen.to_lowercase().contains("subject"), "{seen}");
        let host = format!("a.example:{}", gate.gateway.port());
        assert_eq!(field(&seen, "Host"), Some(&*host));
        assert_eq!(field(&seen, "X-Forwarded-Host"), Some(&*host));
    }
    assert!(TcpStream::connect(gate.gateway).is_ok());
}

#[test]
fn certificates_are_swapped_at_a_reload_and_connections_stay() {
    let ca = Ca::new();
    let server = ca.issue("a", "/CN=a", "DNS:a.example");
    let gate = Gate::start(&tls(&[&server], "", ""));
    let mut open = Open::new(&ca, "a.example", gate.gateway, &[]);
    assert_eq!(open.get("/", ""), "404 Not Found");
    let (other, other_key) = ca.issue("other", "/CN=other", "DNS:b.example");
    // A certificate without a matching key is rejected, and changes nothing.
    let own = fs::read(&server.0).unwrap();
    fs::copy(&other, &server.0).unwrap();
    gate.signal("HUP");
    until("the rejection", || gate.log().contains("not reloaded"));
    assert!(gate.log().contains("certificate[0].key"), "{}", gate.log());
    assert_eq!(
        stdout(&curl(&ca, "a.example", gate.gateway, "/", &[])),
        "no route\n"
    );
    fs::copy(&other_key, &server.1).unwrap();
    gate.signal("HUP");
    until("the reload", || gate.log().contains("reloaded config="));
    assert_eq!(
        stdout(&curl(&ca, "b.example", gate.gateway, "/", &[])),
        "no route\n"
    );
    assert_eq!(
        curl(&ca, "a.example", gate.gateway, "/", &[]).status.code(),
        Some(60)
    );
    assert_eq!(open.get("/", ""), "404 Not Found");
    assert_ne!(own, fs::read(&server.0).unwrap());
}

#[test]
fn old_versions_are_rejected() {
    let ca = Ca::new();
    let server = ca.issue("a", "/CN=a", "DNS:a.example");
    let gate = Gate::start(&tls(&[&server], "", "[tls]\nmin_version = '1.3'\n"));
    let ask = |args: &[&str]| curl(&ca, "a.example", gate.gateway, "/", args);
    assert_eq!(stdout(&ask(&["--tlsv1.3"])), "no route\n");
    assert_eq!(ask(&["--tls-max", "1.2"]).status.code(), Some(35));
    let gate = Gate::start(&tls(&[&server], "", ""));
    let ask = |args: &[&str]| curl(&ca, "a.example", gate.gateway, "/", args);
    assert_eq!(stdout(&ask(&["--tls-max", "1.2"])), "no route\n");
    assert_eq!(
        ask(&["--tlsv1.0", "--tls-max", "1.1"]).status.code(),
        Some(35)
    );
}

fn with_tls_at_the_service(ca: &Ca) -> Gate {
    let (cert, key) = ca.issue("a", "/CN=a", "DNS:a.example");
    let rest = format!("[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n");
    Gate::start_with(&[("REALMGATE_SERVICE_TLS", "true")], &rest)
}

#[test]
fn service_speaks_tls_too() {
    let ca = Ca::new();
    let gate = with_tls_at_the_service(&ca);
    for version in ["--http1.1", "--http2"] {
        let output = curl(
            &ca,
            "a.example",
            gate.service,
            "/healthz",
            &[version, "-w", "%{http_code}"],
        );
        assert!(stdout(&output).ends_with("200"), "{}", stderr(&output));
    }
    assert_eq!(get(gate.gateway, "/", "").status, 404);
}

#[test]
fn link_of_the_root_is_that_of_the_connection() {
    let ca = Ca::new();
    let gate = with_tls_at_the_service(&ca);
    let user = gate.register("user", "payments");
    let credential = format!("user@payments:{}", user.token());
    for version in ["--http1.1", "--http2"] {
        let args = [version, "--user", &credential];
        let output = curl(&ca, "a.example", gate.service, "/", &args);
        let port = gate.service.port();
        let expected = format!(r#"{{"ungleichotp":"https://a.example:{port}/ungleichotp/"}}"#);
        assert_eq!(stdout(&output), expected, "{version} {}", stderr(&output));
    }
}

#[test]
fn missing_handshake_closes_the_connection() {
    let ca = Ca::new();
    let server = ca.issue("a", "/CN=a", "DNS:a.example");
    let gate = Gate::start(&tls(&[&server], "", "[timeouts]\nheader = '1s'\n"));
    for bytes in [&b""[..], b"\x16\x03\x01", b"\0\x03\x01\0\x05hello"] {
        let mut stream = TcpStream::connect(gate.gateway).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        // Closed, perhaps after an alert.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 16, "{rest:?}");
    }
}

#[test]
fn bad_settings_are_reported() {
    let ca = Ca::new();
    let (cert, key) = ca.issue("a", "/CN=a", "DNS:a.example");
    let (_, other) = ca.issue("b", "/CN=b", "DNS:b.example");
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem").display().to_string();
    fs::write(&empty, "nothing\n").unwrap();
    let good = format!("[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n");
    for (text, expected) in [
        ("[gateway]\ntls = true\n".to_owned(), "2: gateway.tls = true: expected at least one [[certificate]] as well".to_owned()),
        (format!("[[certificate]]\ncert = '{cert}'\n"), "1: certificate[0].key: missing".to_owned()),
        (format!("[[certificate]]\ncert = '/none.pem'\nkey = '{key}'\n"), "2: certificate[0].cert = '/none.pem': expected a PEM file of certificates (No such file".to_owned()),
        (format!("[[certificate]]\ncert = '{empty}'\nkey = '{key}'\n"), "2: certificate[0].cert".to_owned()),
        (format!("[[certificate]]\ncert = '{cert}'\nkey = '{cert}'\n"), "3: certificate[0].key".to_owned()),
        (format!("[[certificate]]\ncert = '{cert}'\nkey = '{other}'\n"), "3: certificate[0].key".to_owned()),
        ("[tls]\nmin_version = '1.1'\n".to_owned(), "2: tls.min_version = '1.1': expected \"1.2\" or \"1.3\"".to_owned()),
        (format!("[tls]\nclient_ca = '{empty}'\n"), "2: tls.client_ca".to_owned()),
        (format!("{good}[gateway]\ntls = true\nh2c = true\n"), "6: gateway.h2c = true: expected false if gateway.tls is true".to_owned()),
        ("[service]\nclient_certificates = 'required'\n".to_owned(), "2: service.client_certificates = 'required': expected service.tls = true as well".to_owned()),
        (format!("{good}[service]\ntls = true\nclient_certificates = 'optional'\n"), "6: service.client_certificates = 'optional': expected tls.client_ca as well".to_owned()),
        ("[service]\nclient_certificates = 'maybe'\n".to_owned(), "2: service.client_certificates = 'maybe': expected \"off\", \"optional\" or \"required\"".to_owned()),
        ("[gateway]\nproxy_protocol = ['10.0.0.1/8']\n".to_owned(), "2: gateway.proxy_protocol[0] = '10.0.0.1/8': expected a network without host bits".to_owned()),
    ] {
        let file = folder.path().join("realmgate.toml");
        fs::write(&file, &text).unwrap();
        let output = realmgate(&["check", "--config"]).arg(&file).output().unwrap();
        let message = stderr(&output);
        assert!(!output.status.success(), "{text}");
        assert!(message.contains(&format!("realmgate.toml:{expected}")), "{text}{message}");
        assert!(!message.contains("PRIVATE"), "{message}");
    }
}
