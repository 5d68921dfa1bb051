//! HTTP/2 (RFC 9113) by the frame: what no well-behaved client sends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use super::cases::curl;
use super::{Program, Rig};
use crate::harness::{PATIENCE, field};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A field, pseudo fields included.
type Field<'a> = (&'a str, &'a str);

pub(super) fn http2_passes(program: Program) {
    let rig = Rig::with_http2(program);
    let url = format!("http://{}/api", rig.http2_address());
    let name = ["-H", "X-Auth-Name: billing", "-H", "X-Auth-Realm: payments"];
    let token = format!("X-Auth-Token: {}", rig.billing.token());
    let args = [
        &["--http2-prior-knowledge", "-d", "hello"],
        &name[..],
        &["-H", &token, &url],
    ];
    assert_eq!(curl(&args.concat()), "200");
    assert!(rig.passed_as(&rig.billing).contains("hello"));
    assert_eq!(curl(&["--http2-prior-knowledge", &url]), "401");
}

/// Without it no other case here says anything.
pub(super) fn http2_by_the_frame_passes(program: Program) {
    let rig = Rig::with_http2(program);
    let token = rig.billing.token();
    let fields = request("GET", "app.example", "/api?q=1");
    ask(&rig, &[&fields[..], &credential(&token)].concat(), b"", &[]);
    let seen = rig.passed_as(&rig.billing);
    assert!(seen.starts_with("GET /api?q=1 HTTP/1.1\r\n"), "{seen}");
    assert_eq!(field(&seen, "Host"), Some("app.example"), "{seen}");
}

/// `admin.example` is for the realm `ops`.
pub(super) fn authority_beside_another_host_is_no_way_around(program: Program) {
    let rig = Rig::with_http2(program);
    let token = rig.billing.token();
    let mut requests = Vec::new();
    for (authority, hosts) in [
        (Some("app.example"), &["admin.example"][..]),
        (Some("admin.example"), &["app.example"]),
        (Some("app.example"), &["app.example", "admin.example"]),
        (None, &["admin.example"]),
        (None, &["app.example", "admin.example"]),
        (None, &["admin.example", "app.example"]),
        (Some(""), &["admin.example"]),
        (Some("ADMIN.example."), &[]),
        (Some("admin.example:443"), &[]),
        (Some("app.example@admin.example"), &[]),
        (Some("admin.example/app.example"), &[]),
        (Some("app.example,admin.example"), &[]),
        (Some("app.example\r\nHost: admin.example"), &[]),
        (None, &[]),
    ] {
        let plain = request("GET", "", "/api");
        let mut fields: Vec<Field> = plain
            .into_iter()
            .filter(|it| it.0 != ":authority")
            .collect();
        fields.extend(authority.map(|it| (":authority", it)));
        fields.extend(hosts.iter().map(|it| ("host", *it)));
        fields.extend(credential(&token));
        requests.push(fields);
    }
    ask_each(&rig, &requests, b"", &[]);
    for seen in rig.app.seen() {
        let head = seen.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        assert_eq!(head.matches("\r\nhost:").count(), 1, "{seen}");
        assert_eq!(field(&seen, "Host"), Some("app.example"), "{seen}");
        assert!(!head.contains("admin.example"), "{seen}");
    }
}

pub(super) fn pseudo_fields_smuggle_nothing(program: Program) {
    let rig = Rig::with_http2(program);
    let base = request("GET", "app.example", "/public/x");
    let replaced = [
        (":path", "ops/x"),
        (":path", ""),
        (":path", "*"),
        (":path", " /ops/x"),
        (":path", "http://app.example/ops/x"),
        (":path", "/ops/x#/../public"),
        (":path", "/public/..\\ops/x"),
        (":path", "/public/../ops/x"),
        (":path", "/public/%2e%2e/ops/x"),
        (":path", "//ops/x"),
        (":path", "/public/x\0/../../ops/x"),
        (":path", "/public/x\t/ops"),
        (":path", "/ops/x HTTP/1.1\r\nX-Auth-Name: root\r\nX: y"),
        (":path", "/public/x HTTP/1.1\r\nX-Auth-Name: root\r\nX: y"),
        (":path", "/public/x HTTP/1.1\nX-Auth-Name: root\nX: y"),
        (
            ":method",
            "GET /ops/x HTTP/1.1\r\nX-Auth-Name: root\r\nX: y",
        ),
        (":method", "get"),
        (":method", "CONNECT"),
        (":scheme", "ftp"),
        (":scheme", "http://app.example/ops/x?"),
        (":protocol", "websocket"),
    ];
    let mut requests: Vec<Vec<Field>> = Vec::new();
    for (name, value) in replaced {
        // Pseudo fields come first (RFC 9113 §8.3).
        let others = base.into_iter().filter(|it| it.0 != name);
        requests.push([(name, value)].into_iter().chain(others).collect());
    }
    // One that stands there twice, and one that comes late.
    for late in [(":path", "/ops/x"), (":authority", "admin.example")] {
        requests.push([&base[..], &[late]].concat());
        requests.push([&base[..], &[("x-other", "y"), late]].concat());
    }
    ask_each(&rig, &requests, b"", &[]);
    only_public(&rig);
}

pub(super) fn http2_fields_smuggle_no_identity(program: Program) {
    let rig = Rig::with_http2(program);
    let base = request("POST", "app.example", "/public/x");
    let claims = [
        ("x-auth-name", "root"),
        ("X-Auth-Name", "root"),
        ("x-auth-name ", "root"),
        (" x-auth-name", "root"),
        ("x_auth_name", "root"),
        ("x.auth.name", "root"),
        ("x-auth-name: root\r\nx", "y"),
        ("x-auth-name:", "root"),
        ("x-other", "y\r\nX-Auth-Name: root"),
        ("x-other", "y\nX-Auth-Name: root"),
        (
            "x-other",
            "y\r\n\r\nGET /ops/x HTTP/1.1\r\nX-Auth-Name: root",
        ),
        ("", "root"),
    ];
    let nominated = [("connection", "x-auth-name"), ("x-auth-name", "root")];
    let requests = claims
        .iter()
        .map(std::slice::from_ref)
        .chain([&nominated[..]]);
    let requests: Vec<_> = requests.map(|it| [&base[..], it].concat()).collect();
    ask_each(&rig, &requests, b"", &[]);
    let announced = [("te", "trailers"), ("trailer", "x-auth-name")];
    for trailer in claims {
        let requests = [base.to_vec(), [&base[..], &announced].concat()];
        ask_each(&rig, &requests, b"body", &[trailer]);
    }
    for seen in rig.app.seen() {
        // HAProxy hands trailers on, as its file says.
        let head = seen.split("\r\n\r\n").next().unwrap();
        let looked_at = if program == Program::Haproxy {
            head
        } else {
            &seen
        };
        assert!(!looked_at.contains("root"), "{seen}");
    }
    only_public(&rig);
}

/// Lengths that HTTP/1 would believe, over a body that holds a second request.
pub(super) fn http2_lengths_smuggle_nothing(program: Program) {
    let rig = Rig::with_http2(program);
    let base = request("POST", "app.example", "/public/x");
    let hidden = b"0\r\n\r\nGET /ops/hidden HTTP/1.1\r\nHost: app.example\r\n\r\n";
    let lengths = [
        &[("transfer-encoding", "chunked")][..],
        &[("content-length", "0")],
        &[("content-length", "5")],
        &[("content-length", "5"), ("content-length", "0")],
        &[("content-length", "0"), ("transfer-encoding", "chunked")],
        &[("connection", "upgrade"), ("upgrade", "h2c")],
        &[("expect", "100-continue"), ("content-length", "0")],
    ];
    let requests = lengths.map(|it| [&base[..], it].concat());
    ask_each(&rig, &requests, hidden, &[]);
    only_public(&rig);
}

/// Nobody has proved who they are: nothing but what is public may have arrived.
#[track_caller]
fn only_public(rig: &Rig) {
    for seen in rig.app.seen() {
        let target = seen.split(' ').nth(1).unwrap();
        let path = target.split('?').next().unwrap();
        assert!(
            path.starts_with("/public/") && !path.contains(".."),
            "{seen}"
        );
        assert_eq!(field(&seen, "Host"), Some("app.example"), "{seen}");
        assert_eq!(
            field(&seen, "X-Auth-Name").unwrap_or_default(),
            "",
            "{seen}"
        );
    }
}

fn request<'a>(method: &'a str, authority: &'a str, path: &'a str) -> [Field<'a>; 4] {
    [
        (":method", method),
        (":scheme", "http"),
        (":authority", authority),
        (":path", path),
    ]
}

fn credential(token: &str) -> [Field<'_>; 3] {
    [
        ("x-auth-name", "billing"),
        ("x-auth-realm", "payments"),
        ("x-auth-token", token),
    ]
}

/// Sends many requests at once, since some are told only a second later that they are refused; and one
/// without a fault, which arrives.
fn ask_each(rig: &Rig, requests: &[Vec<Field>], body: &[u8], trailers: &[Field]) {
    thread::scope(|scope| {
        for fields in requests {
            scope.spawn(move || ask(rig, fields, body, trailers));
        }
    });
    let faultless = request("GET", "app.example", "/public/faultless");
    ask(rig, &faultless, b"", &[]);
    let arrived = rig.app.seen();
    assert!(
        arrived
            .iter()
            .any(|it| it.starts_with("GET /public/faultless ")),
        "{arrived:?}"
    );
}

/// Sends one request on a connection of its own, and waits until it is answered or refused.
fn ask(rig: &Rig, fields: &[Field], body: &[u8], trailers: &[Field]) {
    let mut stream = connect(rig.http2_address());
    let (has_body, has_trailers) = (!body.is_empty(), !trailers.is_empty());
    let end = |is_last: bool| if is_last { END_STREAM } else { 0 };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    let flags = END_HEADERS | end(!has_body && !has_trailers);
    frame(&mut bytes, HEADERS, flags, 1, &block(fields));
    if has_body {
        frame(&mut bytes, DATA, end(!has_trailers), 1, body);
    }
    if has_trailers {
        frame(
            &mut bytes,
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &block(trailers),
        );
    }
    // Who refuses early may not read all of it.
    let _ = stream.write_all(&bytes);
    let mut head = [0; 9];
    while stream.read_exact(&mut head).is_ok() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).is_err() {
            return;
        }
        let is_last = head[4] & END_STREAM != 0;
        match head[3] {
            RST_STREAM | GOAWAY => return,
            HEADERS | DATA if is_last => return,
            _ => {}
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// Writes each field as a literal that enters no table (RFC 7541 §6.2.2).
fn block(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "{text}");
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}
