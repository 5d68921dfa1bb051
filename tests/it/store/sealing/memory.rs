//! Seeds in the memory of a running server: present while they are needed, and gone soon after.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use data_encoding::BASE32_NOPAD;
use memchr::memmem::Finder;
use serde_json::Value;
use sha1::{Digest, Sha1};

use crate::harness::{Caller, Gate, Upstream, get, parse, read_message, routes, stderr, until};

/// Much longer than docs/operations.md promises, for a busy machine.
const WITHIN: Duration = Duration::from_secs(20);

const PAGE: u64 = 4096;

/// The initial state of SHA-1 (RFC 3174 §6.1).
const INITIAL: [u32; 5] = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

/// Returns the states of both hashes of an HMAC-SHA-1 that has absorbed its key (RFC 2104 §4), as they
/// are in memory.
fn states(key: &[u8]) -> [Vec<u8>; 2] {
    [0x36, 0x5c].map(|pad| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(at, byte)| *at ^= byte);
        let mut state = INITIAL;
        sha1::block_api::compress(&mut state, &[block]);
        state.into_iter().flat_map(u32::to_ne_bytes).collect()
    })
}

/// Returns the forms of a seed in memory: its bytes, padded as a key of HMAC or not, the states of HMAC that
/// are computed from them, and its base32 form. Of each only the end, because the allocator overwrites the
/// beginning of freed memory.
fn forms(seed: &str) -> [Vec<u8>; 6] {
    let bytes = BASE32_NOPAD.decode(seed.as_bytes()).unwrap();
    let end = &bytes[bytes.len() - 8..];
    let turned = |by: u8| end.iter().map(|it| it ^ by).collect();
    let [inner, outer] = states(&bytes).map(|state| state[12..].to_vec());
    [
        inner,
        outer,
        end.to_vec(),
        turned(0x36),
        turned(0x5c),
        seed.as_bytes()[seed.len() - 12..].to_vec(),
    ]
}

/// A realmgate whose memory can be read.
struct Scene {
    gate: Gate,
    admin: Caller,
    _upstream: Upstream,
}

impl Scene {
    fn start() -> Self {
        let upstream = Upstream::start();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/store/sealing");
        let mut command = Command::new("python3");
        command
            .arg(folder.join("readable_memory.py"))
            .arg(env!("CARGO_BIN_EXE_realmgate"));
        let gate = Gate::start_as(command, &routes(upstream.address));
        let admin = gate.register("root", "ungleich-admin");
        Self {
            gate,
            admin,
            _upstream: upstream,
        }
    }

    /// Counts the [`forms`] of a seed in the server's memory.
    fn copies(&self, seed: &str) -> usize {
        self.copies_of(&[seed])
    }

    /// Counts those of several seeds.
    fn copies_of(&self, seeds: &[&str]) -> usize {
        let forms: Vec<_> = seeds.iter().flat_map(|seed| forms(seed)).collect();
        let finders: Vec<_> = forms.iter().map(Finder::new).collect();
        let pid = self.gate.pid();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
        let pages = fs::File::open(format!("/proc/{pid}/pagemap")).unwrap();
        let (mut read, mut copies) = (0, 0);
        for map in maps.lines().filter(|map| map.contains(" rw")) {
            let (range, _) = map.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
            let mut present = vec![0; usize::try_from((end - start) / PAGE * 8).unwrap()];
            // It may have been unmapped.
            if pages.read_exact_at(&mut present, start / PAGE * 8).is_err() {
                continue;
            }
            let flags = present.chunks(8).map(|it| it[7] & 0x80 != 0);
            let mut at = start;
            for run in flags
                .collect::<Vec<_>>()
                .chunk_by(|one, other| one == other)
            {
                let length = run.len() as u64 * PAGE;
                let mut bytes = vec![0; usize::try_from(length).unwrap()];
                if run[0] && memory.read_exact_at(&mut bytes, at).is_ok() {
                    read += bytes.len();
                    let found = finders.iter().map(|it| it.find_iter(&bytes).count());
                    copies += found.sum::<usize>();
                }
                at += length;
            }
        }
        assert!(read > 1 << 20, "{maps}");
        copies
    }

    /// Authenticates a caller, so that the server has the seed in memory.
    fn prove(&self, caller: &Caller) {
        until("the first request", || {
            get(self.gate.gateway, "/x", &caller.fields()).status == 200
        });
        assert_eq!(get(self.gate.gateway, "/x", &caller.fields()).status, 200);
        assert!(self.copies(&caller.seed) > 0);
    }

    #[track_caller]
    #[expect(clippy::print_stdout, reason = "how long it took, for --nocapture")]
    fn assert_gone(&self, what: &str, seed: &str) {
        let began = Instant::now();
        loop {
            let copies = self.copies(seed);
            if copies == 0 {
                println!("{what}: gone after {:?}", began.elapsed());
                return;
            }
            assert!(began.elapsed() < WITHIN, "{what}: {copies} copies");
        }
    }

    fn run(&self, command: &str, caller: &Caller) {
        let (name, realm) = (&*caller.name, &*caller.realm);
        let args = ["identity", command, "--name", name, "--realm", realm];
        let output = self.gate.run(&args);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// Sends a request over a persistent connection, and returns the connection too.
    fn rest(&self, method: &str, path: &str, body: &str) -> (u16, Value, TcpStream) {
        let mut stream = connect(self.gate.service);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\n{}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.admin.fields(),
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let reply = parse(read_message(&mut stream).unwrap().as_bytes());
        let value = serde_json::from_str(&reply.body).unwrap_or(Value::Null);
        (reply.status, value, stream)
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).unwrap()
}

#[test]
fn seed_is_out_of_memory_soon_after_its_identity_is_deleted_rotated_or_disabled() {
    let scene = Scene::start();
    for command in ["delete", "rotate", "disable"] {
        let caller = scene.gate.register(command, "payments");
        // A connection keeps the permit of its request.
        let mut open = connect(scene.gate.gateway);
        let fields = caller.fields();
        scene.prove(&caller);
        let request = format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        open.write_all(request.as_bytes()).unwrap();
        read_message(&mut open).unwrap();
        scene.run(command, &caller);
        scene.assert_gone(command, &caller.seed);
        // A rejected request does not bring it back.
        for _ in 0..3 {
            let refused = get(scene.gate.gateway, "/x", &caller.fields());
            assert_eq!(refused.status, 401);
        }
        scene.assert_gone(command, &caller.seed);
    }
}

#[test]
fn seed_that_was_shown_over_rest_is_out_of_memory_soon_after() {
    let scene = Scene::start();
    let mut open = Vec::new();
    let mut made = Vec::new();
    for name in ["one", "two"] {
        let body = format!(r#"{{"name":"{name}","realm":"payments"}}"#);
        let (status, identity, stream) = scene.rest("POST", "/ungleichotp/", &body);
        assert_eq!(status, 201);
        open.push(stream);
        let seed = identity["seed"].as_str().unwrap().to_owned();
        scene.assert_gone("created", &seed);
        let caller = Caller {
            name: name.to_owned(),
            realm: "payments".to_owned(),
            seed,
        };
        scene.prove(&caller);
        made.push((identity["id"].clone(), caller));
    }
    for (id, caller) in made {
        let (status, _, stream) = scene.rest("DELETE", &format!("/ungleichotp/{id}/"), "");
        assert_eq!(status, 204);
        open.push(stream);
        scene.assert_gone("deleted", &caller.seed);
    }
}

#[test]
fn seeds_in_a_request_body_are_out_of_memory_soon_after_its_connection() {
    let scene = Scene::start();
    let fields = scene.admin.fields();
    for (case, fields) in [(1, &*fields), (2, "")] {
        // So many that no later call overwrites all of them on the stack.
        let seeds: Vec<_> = (0..40_u8)
            .map(|at| BASE32_NOPAD.encode(&Sha1::digest([case, at])))
            .collect();
        let seeds: Vec<_> = seeds.iter().map(String::as_str).collect();
        let line = |(at, seed)| {
            format!("{{\"name\":\"{case}-{at}\",\"realm\":\"payments\",\"seed\":\"{seed}\"}}\n")
        };
        let body: String = seeds.iter().enumerate().map(line).collect();
        let mut stream = connect(scene.gate.service);
        let request = format!(
            "POST /v1/identities/bulk HTTP/1.1\r\nHost: a\r\n{fields}Content-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        read_message(&mut stream).unwrap();
        drop(stream);
        until("the seeds are gone", || scene.copies_of(&seeds) == 0);
    }
}
