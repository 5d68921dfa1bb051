//! HTTP/2 frames (RFC 9113) that no well-behaved client sends.

use std::thread;

use super::cases::curl;
use super::{Program, Rig};
use crate::harness::field;
use crate::harness::frames::{self, Field, HOSTILE, credential, request};

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

/// Without this case, the others prove nothing.
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
    let more = [
        (":path", "/public/../ops/x"),
        (":path", "//ops/x"),
        (":path", "/public/x\t/ops"),
        (":path", "/ops/x HTTP/1.1\r\nX-Auth-Name: root\r\nX: y"),
        (":path", "/public/x HTTP/1.1\nX-Auth-Name: root\nX: y"),
        (":scheme", "ftp"),
    ];
    let mut requests: Vec<Vec<Field>> = Vec::new();
    for (name, value) in HOSTILE.into_iter().chain(more) {
        // Pseudo-header fields come first (RFC 9113 §8.3).
        let others = base.into_iter().filter(|it| it.0 != name);
        requests.push([(name, value)].into_iter().chain(others).collect());
    }
    // A repeated one, and one after other fields.
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
        // HAProxy forwards trailers, as its file says.
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

/// Lengths that HTTP/1 would trust, with a second request in the body.
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

/// Without a credential, only public requests may arrive.
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

/// Sends many requests concurrently, because some are rejected only after a second, and a valid
/// one, which must arrive.
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

/// Sends one request on its own connection, and waits for the response or a reset.
fn ask(rig: &Rig, fields: &[Field], body: &[u8], trailers: &[Field]) {
    frames::ask(rig.http2_address(), fields, body, trailers);
}
