//! A disk that stalls for longer than any timeout: a confirmed change was made, and a failed one
//! was not.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::harness::{
    Caller, Gate, Reply, Upstream, audited_routes, get, send, stderr, stdout, until, whole_lines,
};

/// Longer than twice the default of `store.timeout`.
const STALL: Duration = Duration::from_secs(5);

/// Delays each sync of a process until it is dropped.
struct Stall(Child);

impl Stall {
    fn of(pid: u32, each: Duration) -> Self {
        let mut strace = strace(each)
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        // It keeps printing about new threads.
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self(strace)
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        let mut kill = Command::new("kill");
        let _ = kill.args(["-s", "INT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

fn strace(each: Duration) -> Command {
    let mut command = Command::new("strace");
    let inject = format!("inject=fsync:delay_enter={}", each.as_micros());
    command.args(["-f", "-o", "/dev/null", "-e", "trace=fsync", "-e", &inject]);
    command
}

struct Scene {
    gate: Gate,
    admin: Caller,
    _upstream: Upstream,
    folder: tempfile::TempDir,
}

impl Scene {
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::start();
        let log = folder.path().join("audit.jsonl");
        let gate = Gate::start(&audited_routes(&log, more, upstream.address));
        let admin = gate.register("root", "ungleich-admin");
        Self {
            gate,
            admin,
            _upstream: upstream,
            folder,
        }
    }

    fn audit(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// Returns whether an event about a name is in the audit log.
    fn has_logged(&self, event: &str, name: &str) -> bool {
        let text = fs::read_to_string(self.audit()).unwrap();
        let mut lines = whole_lines(&text).map(|line| serde_json::from_str(line).unwrap());
        lines.any(|line: Value| line["event"] == event && line["subject"]["name"] == name)
    }

    fn id(&self, name: &str) -> u64 {
        self.show(name)["id"].as_u64().unwrap()
    }

    fn show(&self, name: &str) -> Value {
        let output = self
            .gate
            .run(&["identity", "show", &format!("{name}@payments")]);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn is_there(&self, name: &str) -> bool {
        let who = format!("{name}@payments");
        self.gate.run(&["identity", "show", &who]).status.success()
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        let fields = format!("{}Content-Type: application/json\r\n", self.admin.fields());
        send(self.gate.service, method, path, &fields, body)
    }

    /// Runs a command whose syncs are all delayed for longer than twice its timeout. Opening the
    /// database takes some syncs too.
    fn run_slowly(&self, args: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_realmgate");
        let config = self.gate.config();
        let mut command = strace(STALL / 3);
        command.env("REALMGATE_STORE_TIMEOUT", "500ms");
        command.arg(program).args(args).arg("--json");
        command.arg("--config").arg(config).output().unwrap()
    }
}

#[test]
fn changes_over_rest_wait_until_a_slow_disk_has_them_and_are_logged() {
    let scene = Scene::start("");
    for name in ["gone", "old"] {
        scene.gate.register(name, "payments");
    }
    let [gone, old] = ["gone", "old"].map(|name| scene.id(name));
    let stall = Stall::of(scene.gate.pid(), STALL);
    let steps: [(&str, u64, &str, u16); 3] = [
        ("DELETE", gone, "", 204),
        ("PATCH", old, r#"{"name":"new"}"#, 200),
        ("POST", 0, r#"{"name":"made","realm":"payments"}"#, 201),
    ];
    for (method, id, body, expected) in steps {
        let path = match id {
            0 => "/ungleichotp/".to_owned(),
            id => format!("/ungleichotp/{id}/"),
        };
        let mut began = Instant::now();
        let mut reply = scene.ask(method, &path, body);
        // The server's own saving may be using the disk.
        until("a turn", || {
            let is_refused = reply.status == 503 && reply.body.contains("temporarily");
            if is_refused {
                began = Instant::now();
                reply = scene.ask(method, &path, body);
            }
            !is_refused
        });
        assert_eq!(reply.status, expected, "{method}: {}", scene.gate.log());
        assert!(began.elapsed() >= STALL, "{method} was not held up");
        if method == "POST" {
            assert!(reply.body.contains("seed"), "{}", reply.body);
        }
    }
    // A change that gets no turn fails, and was not made.
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let all: Vec<_> = (0..3)
            .map(|n| {
                let name = format!("crowd-{n}");
                let body = format!(r#"{{"name":"{name}","realm":"payments"}}"#);
                (
                    name,
                    scope.spawn(|| scene.ask("POST", "/ungleichotp/", &{ body }).status),
                )
            })
            .collect();
        for (name, status) in all {
            match status.join().unwrap() {
                201 => kept.push(name),
                503 => refused.push(name),
                other => panic!("{name}: {other}"),
            }
        }
    });
    assert!(!refused.is_empty());
    drop(stall);
    assert!(!scene.is_there("gone") && !scene.is_there("old"));
    assert!(scene.is_there("new") && scene.is_there("made"));
    for name in &kept {
        assert!(scene.is_there(name) && scene.has_logged("identity_created", name));
    }
    // A later change comes after all that was left of them.
    scene.gate.register("after", "payments");
    for name in &refused {
        assert!(!scene.is_there(name) && !scene.has_logged("identity_created", name));
    }
    for (event, name) in [
        ("identity_deleted", "gone"),
        ("identity_renamed", "new"),
        ("identity_created", "made"),
    ] {
        assert!(scene.has_logged(event, name), "{event} {name}");
    }
    assert!(scene.gate.log().contains("slow to commit"));
}

#[test]
fn commands_wait_until_a_slow_disk_has_their_change_and_print_the_seed() {
    let scene = Scene::start("");
    let before = scene.gate.register("billing", "payments");
    scene.gate.register("shut", "payments");
    let seed = |output: &Output| {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
        let printed: Value = serde_json::from_str(&stdout(output)).unwrap();
        printed["seed"].as_str().unwrap_or_default().to_owned()
    };
    let rotated = seed(&scene.run_slowly(&["identity", "rotate", "billing@payments"]));
    assert!(!rotated.is_empty() && rotated != before.seed);
    let now = Caller {
        seed: rotated,
        ..before
    };
    until("the new seed counts", || {
        get(scene.gate.gateway, "/x", &now.fields()).status == 200
    });
    assert!(!seed(&scene.run_slowly(&["identity", "create", "made@payments"])).is_empty());
    seed(&scene.run_slowly(&["identity", "disable", "shut@payments"]));
    assert_eq!(scene.show("shut")["state"], "disabled");
    for (event, name) in [
        ("identity_rotated", "billing"),
        ("identity_created", "made"),
        ("identity_disabled", "shut"),
    ] {
        assert!(scene.has_logged(event, name), "{event} {name}");
    }
}

#[test]
fn one_time_token_whose_response_was_lost_permits_nothing_later() {
    let more = "[realm.payments]\nreuse = \"once\"\n";
    let scene = Scene::start(more);
    let caller = scene.gate.register("billing", "payments");
    let stall = Stall::of(scene.gate.pid(), STALL * 2);
    let fields = caller.fields();
    let reply = get(scene.gate.gateway, "/x", &fields);
    assert_eq!(reply.status, 503, "{}", scene.gate.log());
    drop(stall);
    until("it is spent", || {
        get(scene.gate.gateway, "/x", &fields).status == 401
    });
    assert!(
        scene.gate.log().contains("replayed"),
        "{}",
        scene.gate.log()
    );
}
