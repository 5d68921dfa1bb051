//! The same request through each front proxy: the path that arrives is the one that realmgate
//! decided on, or nothing arrives.

use percent_encoding::percent_decode_str;

use super::{Program, Rig};
use crate::harness::raw;

/// Paths that proxies and applications are known to read differently.
const TARGETS: [&[u8]; 72] = [
    b"/public/x",
    b"/public/",
    b"/public",
    b"/public/../ops/x",
    b"/public/..",
    b"/public/./../ops/x",
    b"/public/%2e%2e/ops/x",
    b"/public/%2E%2E/ops/x",
    b"/public/.%2e/ops/x",
    b"/public/%2e./ops/x",
    b"/public/%252e%252e/ops/x",
    b"/public/..%2fops/x",
    b"/public/..%2Fops/x",
    b"/public%2f..%2fops/x",
    b"/public/%2e%2e%2fops/x",
    b"/public/..;/ops/x",
    b"/public/..;a=b/ops/x",
    b"/public;/../ops/x",
    b"/public/.;/../ops/x",
    b"/public/..\\ops\\x",
    b"/public\\..\\ops\\x",
    b"/public/..%5cops%5cx",
    b"/public/%5c..%5cops",
    b"//ops/x",
    b"///ops/x",
    b"/public//../ops/x",
    b"/public//ops/x",
    b"//public/../ops/x",
    b"/./ops/x",
    b"/ops/./x",
    b"/%6fps/x",
    b"/%4fps/x",
    b"/op%73/x",
    b"/OPS/x",
    b"/ops%2fx",
    b"/ops%2Fx",
    b"/ops%00/x",
    b"/public/%00/../ops/x",
    b"/public/x%00",
    b"/public/x\x00y",
    b"/public/x%0d%0aX-Auth-Name:%20root",
    b"/public/x%0a",
    b"/public/x\x7f",
    b"/public/\xc3\xa9",
    b"/public/%c3%a9",
    b"/public/%c0%ae%c0%ae/ops/x",
    b"/public/%u002e%u002e/ops/x",
    b"/public/%zz",
    b"/public/%",
    b"/public/x?../../ops/x",
    b"/public/x#/../../ops/x",
    b"/public/%23/../ops/x",
    b"/;/ops/x",
    b"/;x/ops/x",
    b"/public/;/ops/x",
    b"/%3b/ops/x",
    b"/ops;/x",
    b"/ops%3bx",
    b"/public/x;y=1",
    b"/%252fops/x",
    b"/ops%252fx",
    b"/public/..%252fops/x",
    b"/public/..%255cops",
    b"/public/%252e%252e%252fops/x",
    b"/public/..%20/ops/x",
    b"/ops./x",
    b"/ops%20/x",
    b"/%ef%bc%8fops/x",
    b"/public/%ef%bc%8e%ef%bc%8e/ops/x",
    b"/%ef%bd%8fps/x",
    b"/ops%3fx",
    b"/public/%25c0%25ae%25c0%25ae/ops/x",
];

pub(super) fn path_that_was_decided_on_is_the_one_that_arrives(program: Program) {
    let rig = Rig::start(program);
    // Without a credential, every reading must be public.
    let is_public = |reading: &str| reading == "/public" || reading.starts_with("/public/");
    let arrived = ask_for_all(&rig, "", is_public);
    assert!(arrived >= 4, "{arrived}");
    // `billing` may use everything but `/ops`.
    let is_not_ops = |reading: &str| reading != "/ops" && !reading.starts_with("/ops/");
    let arrived = ask_for_all(&rig, &rig.billing.fields(), is_not_ops);
    assert!(arrived >= 5, "{arrived}");
}

/// Requests every target. Returns how many arrived; asserts that each arrived unchanged, and only
/// if all of its readings are allowed.
fn ask_for_all(rig: &Rig, fields: &str, is_allowed: impl Fn(&str) -> bool) -> usize {
    let mut arrived = 0;
    for target in TARGETS {
        let shown = String::from_utf8_lossy(target);
        let before = rig.app.seen().len();
        rig.tee.take();
        let request = [
            b"GET ",
            target,
            b" HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n",
            fields.as_bytes(),
            b"\r\n",
        ];
        let reply = raw(rig.address(), &request.concat());
        let seen = rig.app.seen();
        if seen.len() == before {
            assert_ne!(reply.status, 200, "{shown}: {reply:?}");
            continue;
        }
        arrived += 1;
        assert_eq!(seen.len(), before + 1, "{shown}");
        let line = seen[before].lines().next().unwrap();
        let path = line.split(' ').nth(1).unwrap();
        let asked = rig.tee.take();
        assert!(
            was_asked(rig.front.program, &asked, path),
            "{shown} arrived as {path}: {asked}"
        );
        for reading in readings(path) {
            assert!(
                is_allowed(&reading),
                "{shown} arrived as {path}, which may be read as {reading}"
            );
        }
    }
    arrived
}

/// Returns whether the front proxy asked realmgate about this path and query.
fn was_asked(program: Program, asked: &str, path: &str) -> bool {
    let field = |name: &str| {
        let value = asked.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        });
        value.unwrap_or_else(|| panic!("no {name} in {asked}"))
    };
    match program {
        Program::Nginx => field("X-Original-URL").ends_with(&format!("://app.example{path}")),
        Program::Traefik | Program::Caddy | Program::Haproxy => field("X-Forwarded-Uri") == path,
        // The path is compressed (RFC 7541).
        Program::EnvoyHttp2 => !asked.is_empty(),
        Program::Envoy => asked.starts_with(&format!("GET /forward-auth/envoy{path} HTTP/1.1\r\n")),
        // A Protocol Buffers field: key, length and text.
        Program::EnvoyGrpc => asked.contains(&format!("\"{}{path}", path.len() as u8 as char)),
    }
}

/// Returns how applications may read a path: unchanged, decoded once and twice, with dot segments
/// resolved.
fn readings(path: &str) -> [String; 3] {
    let path = path.split('?').next().unwrap();
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8_lossy()
            .replace('\\', "/")
    };
    let once = decoded(path);
    [resolve(path), resolve(&once), resolve(&decoded(&once))]
}

fn resolve(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').map(|it| it.split(';').next().unwrap()) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    format!("/{}", segments.join("/"))
}
