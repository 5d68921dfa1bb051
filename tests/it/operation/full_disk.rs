//! A disk that is filled by strangers or other programs: administrators can continue.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{
    Caller, Gate, Upstream, audited_routes, configuration, get, realmgate, send, stderr, stdout,
    until, whole_lines, with_mounts,
};

/// The disk space reserved for changes.
const RESERVE: u64 = 4 << 20;

/// A realmgate with its database and audit log on a small disk that only it and this process see.
struct Scene {
    gate: Gate,
    admin: Caller,
    disk: PathBuf,
    _upstream: Upstream,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        let upstream = Upstream::start();
        let folder = tempfile::tempdir().unwrap();
        let (disk, kept) = (folder.path().join("disk"), folder.path().join("kept"));
        fs::create_dir(&disk).unwrap();
        fs::create_dir(&kept).unwrap();
        let config = folder.path().join("realmgate.toml");
        fs::write(&config, configuration(&kept, "")).unwrap();
        let output = realmgate(&["init", "--name", "root", "--json", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let admin: Value = serde_json::from_str(&stdout(&output)).unwrap();
        // Dumpable, so that this process can see its disk without privileges.
        let readable = Path::new(env!("CARGO_MANIFEST_DIR"));
        let readable = readable.join("tests/it/store/sealing/readable_memory.py");
        let script = "mount -t tmpfs -o size=32m,mode=0700 tmpfs \"$1\" && cp \"$2\"/* \"$1\" && \
                      exec python3 \"$3\" \"$4\" \"${@:5}\"";
        let mut command = with_mounts(script);
        command
            .args([&disk, &kept, &readable])
            .arg(env!("CARGO_BIN_EXE_realmgate"))
            .env(
                "REALMGATE_STORE_URL",
                format!("sqlite:{}", disk.join("realmgate.db").display()),
            );
        let log = disk.join("audit.jsonl");
        let more = audited_routes(&log, "repeats_every = \"1ms\"", upstream.address);
        let gate = Gate::start_as(command, &more);
        let outside = PathBuf::from(format!("/proc/{}/root", gate.pid()));
        let disk = outside.join(disk.strip_prefix("/").unwrap());
        Self {
            gate,
            admin: Caller {
                name: "root".to_owned(),
                realm: "ungleich-admin".to_owned(),
                seed: admin["seed"].as_str().unwrap().to_owned(),
            },
            disk,
            _upstream: upstream,
            _folder: folder,
        }
    }

    /// Fills the disk.
    fn fill(&self) {
        let mut file = File::options();
        let path = self.disk.join("others");
        let mut file = file.append(true).create(true).open(path).unwrap();
        let mut piece = vec![0; 1 << 20];
        while !piece.is_empty() {
            if file.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
    }

    fn of(&self, event: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.disk.join("audit.jsonl")).unwrap();
        let lines = whole_lines(&text).map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &Value| line["event"] == event)
            .collect()
    }

    /// Returns the number of denials in single and combined lines.
    fn denials(&self) -> u64 {
        let denied = self.of("denied").into_iter();
        denied.map(|it| it["count"].as_u64().unwrap_or(1)).sum()
    }

    fn create(&self, name: &str) -> u16 {
        let fields = format!("{}Content-Type: application/json\r\n", self.admin.fields());
        let body = format!(r#"{{"name":"{name}","realm":"payments"}}"#);
        send(self.gate.service, "POST", "/ungleichotp/", &fields, &body).status
    }

    fn has_metric(&self, line: &str) -> bool {
        let metrics = get(self.gate.metrics(), "/metrics", "").body;
        metrics.lines().any(|it| it == line)
    }

    fn reserve(&self) -> u64 {
        fs::metadata(self.disk.join("audit.jsonl.reserve"))
            .unwrap()
            .len()
    }
}

#[test]
fn administrators_go_on_when_strangers_can_write_no_more_lines() {
    let scene = Scene::start();
    assert_eq!(scene.create("before"), 201);
    assert_eq!(scene.reserve(), RESERVE);
    get(scene.gate.gateway, "/x", "");
    until("a denial", || scene.of("denied").len() == 1);

    scene.fill();
    for _ in 0..20 {
        get(scene.gate.gateway, "/x", "");
    }
    until("it is noticed", || {
        scene.has_metric("realmgate_audit_full 1")
    });
    assert_eq!(scene.of("audit_full").len(), 1);
    // Freed space is used up by others at once.
    for n in 0..12 {
        scene.fill();
        get(scene.gate.gateway, "/x", "");
        assert_eq!(
            scene.create(&format!("name-{n}")),
            201,
            "{n}: {}",
            scene.gate.log()
        );
    }
    assert_eq!(scene.of("identity_created").len(), 13);
    assert!(scene.of("denied").len() <= 21);
    assert!(scene.reserve() < RESERVE);
    assert!(scene.has_metric("realmgate_audit_failing 0"));

    fs::remove_file(scene.disk.join("others")).unwrap();
    until("there is room again", || {
        scene.has_metric("realmgate_audit_full 0")
    });
    assert_eq!(scene.reserve(), RESERVE);
    let denied = scene.of("denied").len();
    get(scene.gate.gateway, "/x", "");
    until("denials are written", || scene.of("denied").len() > denied);
    until("the lost lines are counted", || {
        let lost = scene.of("audit_lost").into_iter();
        let lost: u64 = lost.map(|it| it["lost"].as_u64().unwrap()).sum();
        lost + scene.denials() == 34
    });
    let output = realmgate(&["audit", "verify"])
        .arg(scene.disk.join("audit.jsonl"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stdout(&output));
}

#[test]
fn nothing_is_changed_once_nothing_is_left() {
    let scene = Scene::start();
    scene.fill();
    File::options()
        .write(true)
        .open(scene.disk.join("audit.jsonl.reserve"))
        .unwrap()
        .set_len(0)
        .unwrap();
    scene.fill();
    get(scene.gate.gateway, "/x", "");
    until("it is noticed", || {
        scene.has_metric("realmgate_audit_full 1") || scene.has_metric("realmgate_audit_failing 1")
    });
    let status = scene.create("one");
    assert_eq!(status, 503, "{}", scene.gate.log());
    fs::remove_file(scene.disk.join("others")).unwrap();
    until("there is room again", || {
        scene.has_metric("realmgate_audit_full 0") && scene.has_metric("realmgate_audit_failing 0")
    });
    assert_eq!(
        scene.create("one"),
        201,
        "it was not made before: {}",
        scene.gate.log()
    );
}
