//! The audit log of a running realmgate and of its commands.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::harness::{
    Caller, Gate, Upstream, audited_routes, get, realmgate, routes, send, stderr, stdout, until,
    whole_lines,
};

/// A realmgate with an audit log, and the upstream of its routes.
struct Scene {
    gate: Gate,
    _upstream: Upstream,
    folder: tempfile::TempDir,
}

impl Scene {
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::start();
        let file = folder.path().join("audit.jsonl");
        let gate = Gate::start(&audited_routes(&file, more, upstream.address));
        Self {
            gate,
            _upstream: upstream,
            folder,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path()).unwrap();
        whole_lines(&text)
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Returns the lines of an event.
    fn of(&self, event: &str) -> Vec<Value> {
        let mut events = self.events();
        events.retain(|it| it["event"] == event);
        events
    }

    /// Returns the number of denials in single and combined lines.
    fn denials(&self) -> u64 {
        let denied = self.of("denied").into_iter();
        denied.map(|it| it["count"].as_u64().unwrap_or(1)).sum()
    }

    fn wait_for(&self, event: &str, count: usize) {
        until(event, || self.of(event).len() >= count);
    }

    /// Runs `audit verify`. Returns its exit code and its report.
    fn verify(&self, files: &[PathBuf]) -> (i32, Value) {
        let output = realmgate(&["audit", "verify", "--json"])
            .args(files)
            .output()
            .unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code().unwrap(), report)
    }

    #[track_caller]
    fn assert_fine(&self) -> Value {
        let (code, report) = self.verify(&[self.path()]);
        assert_eq!(code, 0, "{report}");
        report
    }

    fn rest(&self, by: &Caller, method: &str, path: &str, body: &str) -> u16 {
        let fields = format!("{}Content-Type: application/json\r\n", by.fields());
        send(self.gate.service, method, path, &fields, body).status
    }
}

/// Returns a credential with a unique name, so that its denial has a line of its own.
fn stranger(n: usize) -> String {
    format!("X-Auth-Name: name-{n}\r\nX-Auth-Realm: nobody\r\nX-Auth-Token: 123456\r\n")
}

#[test]
fn changes_of_identities_are_logged_with_their_actor() {
    let scene = Scene::start("");
    let admin = scene.gate.register("root", "ungleich-admin");
    let uid = fs::metadata("/proc/self").map(|it| std::os::unix::fs::MetadataExt::uid(&it));
    assert_eq!(
        scene.of("identity_created")[0]["actor"]["uid"],
        uid.unwrap()
    );
    let body = r#"{"name":"bílling","realm":"payments"}"#;
    assert_eq!(scene.rest(&admin, "POST", "/ungleichotp/", body), 201);
    let created = scene.of("identity_created").pop().unwrap();
    assert_eq!(created["subject"]["name"], "bílling");
    assert_eq!(created["actor"]["name"], "root");
    assert_eq!(created["actor"]["realm"], "ungleich-admin");
    assert_eq!(created["source"], "127.0.0.1");
    assert_eq!(created["door"], "rest");
    assert_eq!(created["request"].as_str().unwrap().len(), 32);
    let path = format!("/ungleichotp/{}/", created["id"]);
    let body = r#"{"name":"invoices"}"#;
    assert_eq!(scene.rest(&admin, "PATCH", &path, body), 200);
    let renamed = &scene.of("identity_renamed")[0];
    assert_eq!(renamed["was"]["name"], "bílling");
    assert_eq!(renamed["subject"]["name"], "invoices");
    for (command, more, event) in [
        ("rotate", &[][..], "identity_rotated"),
        ("disable", &[], "identity_disabled"),
        ("enable", &[], "identity_enabled"),
        ("unthrottle", &[], "identity_unthrottled"),
        ("set", &["--comment", "x"], "identity_changed"),
    ] {
        let args = [&["identity", command, "invoices@payments"], more].concat();
        let output = scene.gate.run(&args);
        assert!(output.status.success(), "{command}: {}", stderr(&output));
        // The position of the log belongs to the log of the server.
        assert_eq!(stderr(&output), "", "{command}");
        let events = scene.of(event);
        assert_eq!(events.len(), 1, "{event}");
        assert_eq!(events[0]["subject"]["name"], "invoices");
    }
    let changed = &scene.of("identity_changed")[0];
    let expected = serde_json::json!({ "comment": { "old": null, "new": "x" } });
    assert_eq!(changed["changes"], expected);
    let body = r#"{"expires":"2100-01-01T00:00:00Z","comment":"x"}"#;
    let own = format!("/v1/identities/{}", created["id"]);
    assert_eq!(scene.rest(&admin, "PATCH", &own, body), 200);
    let changed = &scene.of("identity_changed")[1];
    let expected = serde_json::json!({ "expires": { "old": null, "new": "2100-01-01T00:00:00Z" } });
    assert_eq!(changed["changes"], expected);
    // The lines of an identity are found under all its names.
    let found = get(
        scene.gate.service,
        &format!("/v1/audit?id={}", created["id"]),
        &admin.fields(),
    );
    let found: Value = serde_json::from_str(&found.body).unwrap();
    let names = found["items"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|it| it["subject"]["name"].as_str()).collect();
    assert_eq!(names.first(), Some(&Some("invoices")));
    assert_eq!(names.last(), Some(&Some("bílling")));
    assert_eq!(scene.rest(&admin, "DELETE", &path, ""), 204);
    assert_eq!(scene.of("identity_deleted")[0]["actor"]["name"], "root");
    let rotated = scene.gate.run(&["key", "rotate"]);
    let rotated: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    assert_eq!(scene.of("key_rotated")[0]["key"], rotated["key"]);
    // A change that was not made is not logged.
    assert_eq!(scene.rest(&admin, "DELETE", &path, ""), 404);
    assert_eq!(scene.of("identity_deleted").len(), 1);
    scene.assert_fine();
}

#[test]
fn concurrent_changes_name_the_principal_at_that_time() {
    let scene = Scene::start("");
    let admin = scene.gate.register("root", "ungleich-admin");
    for round in 0..10 {
        let first = format!("first-{round}");
        let body = format!(r#"{{"name":"{first}","realm":"payments"}}"#);
        assert_eq!(scene.rest(&admin, "POST", "/ungleichotp/", &body), 201);
        let id = scene.of("identity_created").pop().unwrap()["id"].clone();
        let path = format!("/ungleichotp/{id}/");
        thread::scope(|scope| {
            for n in 0..4 {
                let (scene, admin, path) = (&scene, &admin, &path);
                scope.spawn(move || {
                    let body = format!(r#"{{"name":"other-{round}-{n}"}}"#);
                    let status = scene.rest(admin, "PATCH", path, &body);
                    assert!([200, 404].contains(&status), "{status}");
                });
            }
            scope.spawn(|| assert_eq!(scene.rest(&admin, "DELETE", &path, ""), 204));
        });
        let of_it = |event: &str| -> Vec<Value> {
            let all = scene.of(event).into_iter();
            all.filter(|it| it["id"] == id).collect()
        };
        // The renames lead from the first name to the deleted one.
        let mut renames = of_it("identity_renamed");
        let mut name = Value::from(first);
        while let Some(at) = renames.iter().position(|it| it["was"]["name"] == name) {
            name = renames.swap_remove(at)["subject"]["name"].clone();
        }
        assert_eq!(renames, [Value::Null; 0], "after {name}");
        let deleted = of_it("identity_deleted");
        assert_eq!(deleted.len(), 1);
        assert_eq!(deleted[0]["subject"]["name"], name);
    }
    scene.assert_fine();
}

#[test]
fn each_denial_has_its_cause_and_no_token_is_in_the_log() {
    let scene = Scene::start("");
    let caller = scene.gate.register("billing", "payments");
    let nobody = Caller {
        name: "no\u{1b}[31mbody".to_owned(),
        ..caller.clone()
    };
    let wrong = caller.wrong_token();
    get(scene.gate.gateway, "/x", &caller.fields_with(&wrong));
    get(scene.gate.gateway, "/x", "");
    get(scene.gate.gateway, "/ops", &caller.fields());
    get(scene.gate.gateway, "/x", "X-Auth-Name: a\r\n");
    let fields = format!("X-Auth-Realm: r\r\nX-Auth-Token: {wrong}\r\n");
    get(
        scene.gate.service,
        "/forward-auth",
        &format!("X-Auth-Name: caf\u{e9}\r\n{fields}"),
    );
    get(
        scene.gate.service,
        "/ungleichotp/",
        &nobody.fields().replace('\u{1b}', "?"),
    );
    let expected = [
        ("wrong_token", "proxy"),
        ("no_credential", "proxy"),
        ("not_allowed", "proxy"),
        ("malformed_credential", "proxy"),
        ("unknown_principal", "forward-auth"),
        ("unknown_principal", "rest"),
    ];
    scene.wait_for("denied", expected.len());
    let denied = scene.of("denied");
    let found: Vec<_> = denied
        .iter()
        .map(|it| (it["reason"].as_str().unwrap(), it["door"].as_str().unwrap()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(denied[0]["route"], "all");
    let mut requests: Vec<_> = denied.iter().map(|it| it["request"].as_str()).collect();
    requests.dedup();
    assert_eq!(requests.iter().flatten().count(), denied.len());
    assert_eq!(denied[2]["route"], "ops");
    assert_eq!(denied[0]["source"], "127.0.0.1");
    assert_eq!(denied[0]["subject"]["name"], "billing");
    assert_eq!(denied[4]["subject"]["name"], "caf\u{e9}");
    scene.assert_fine();
    let text = fs::read_to_string(scene.path()).unwrap();
    assert!(
        text.bytes().all(|it| matches!(it, b'\n' | b' '..=b'~')),
        "{text}"
    );
    for secret in [&caller.seed, &wrong, &caller.token()] {
        assert!(!text.contains(&format!("\"{secret}\"")), "{text}");
    }
}

#[test]
fn rejections_are_written_with_their_reason() {
    let scene = Scene::start("");
    get(scene.gate.gateway, "/a/../b", "");
    get(scene.gate.service, "/forward-auth/nginx", "");
    scene.wait_for("refused", 2);
    let refused = scene.of("refused");
    assert_eq!(refused[0]["reason"], "ambiguous_path");
    assert_eq!(refused[0]["door"], "proxy");
    assert_eq!(refused[1]["reason"], "description_missing");
    assert_eq!(refused[1]["door"], "forward-auth");
    assert_eq!(refused[1]["source"], Value::Null);
}

#[test]
fn attack_is_logged_once() {
    let scene = Scene::start(
        "repeats_every = \"100ms\"\n[throttle]\ndelay = \"1h\"\nlongest_delay = \"1h\"\n",
    );
    let caller = scene.gate.register("billing", "payments");
    let wrong = caller.fields_with(&caller.wrong_token());
    for _ in 0..8 {
        get(scene.gate.gateway, "/x", &wrong);
    }
    until("all are written", || scene.denials() == 8);
    let attacked = scene.of("principal_attacked");
    assert_eq!(attacked.len(), 1);
    assert_eq!(attacked[0]["subject"]["name"], "billing");
    assert_eq!(attacked[0]["delay"], 3600);
    let metrics = get(scene.gate.metrics(), "/metrics", "").body;
    let expected = "realmgate_throttle_attacks_total{whom=\"principal\"} 1\n";
    assert!(metrics.contains(expected), "{metrics}");
}

#[test]
fn denial_that_repeats_is_written_at_once_and_then_counted() {
    let mut scene = Scene::start("");
    let caller = scene.gate.register("billing", "payments");
    get(scene.gate.gateway, "/ops", &caller.fields());
    scene.wait_for("denied", 1);
    for _ in 0..4 {
        get(scene.gate.gateway, "/ops", &caller.fields());
    }
    get(scene.gate.gateway, "/x", "");
    scene.wait_for("denied", 2);
    // A change of an identity first writes its pending counts; others wait for their interval.
    get(scene.gate.gateway, "/x", "");
    let admin = scene.gate.register("root", "ungleich-admin");
    let id = scene.of("identity_created")[0]["id"].clone();
    let path = format!("/ungleichotp/{id}/");
    assert_eq!(scene.rest(&admin, "PATCH", &path, r#"{"name":"b"}"#), 200);
    let denied = scene.of("denied");
    let [first, anonymous, counted] = &denied[..] else {
        panic!("{denied:?}")
    };
    assert_eq!(first.get("count"), None);
    assert_eq!(anonymous["reason"], "no_credential");
    for key in ["door", "route", "subject", "source", "reason"] {
        assert_eq!(counted[key], first[key], "{key}");
    }
    assert_eq!(counted["count"], 4);
    assert_eq!(counted.get("request"), None);
    let time = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let [began, ended, written] = ["first", "last", "time"].map(|key| time(counted, key));
    assert!(time(first, "time") <= began, "{denied:?}");
    assert!(began <= ended && ended <= written, "{denied:?}");
    let renamed = &scene.of("identity_renamed")[0];
    assert!(counted["seq"].as_u64() < renamed["seq"].as_u64());
    // After shutdown, no counts are pending.
    scene.gate.signal("TERM");
    scene.gate.child.wait().unwrap();
    assert_eq!(scene.denials(), 7);
    let last = scene.events().pop().unwrap();
    assert_eq!(last["event"], "serve_ended");
    scene.assert_fine();
}

#[test]
fn interval_ends_with_a_line_though_nothing_else_comes() {
    let scene = Scene::start("repeats_every = \"200ms\"\n");
    let began = Instant::now();
    for _ in 0..50 {
        get(scene.gate.gateway, "/x", "");
    }
    until("all are written", || scene.denials() == 50);
    // The first denial is written at once, and then one line in each interval.
    let most = began.elapsed().as_millis() / 200 + 2;
    let lines = scene.of("denied").len();
    assert!(lines >= 2 && lines as u128 <= most, "{lines} of {most}");
    assert!(scene.of("audit_lost").is_empty());
    scene.assert_fine();
}

#[test]
fn client_of_an_identity_that_has_ended_is_no_attack_on_it() {
    let scene = Scene::start("[throttle]\ndelay = \"1s\"\nlongest_delay = \"1s\"\n");
    let [disabled, expired, early, guessed] =
        ["disabled", "expired", "early", "guessed"].map(|it| scene.gate.register(it, "payments"));
    // The identity is trusted where it has authenticated, and not throttled there.
    assert_eq!(
        get(scene.gate.gateway, "/x", &disabled.fields()).status,
        200
    );
    for (args, who) in [
        (&["identity", "disable"][..], &disabled),
        (&["identity", "set", "--not-before", "30d"], &early),
        (&["identity", "set", "--not-before", "30d"], &guessed),
    ] {
        let named = ["--name", &who.name, "--realm", &who.realm];
        let output = scene.gate.run(&[args, &named].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    }
    scene.gate.expire(&expired);
    for who in [&disabled, &expired, &early] {
        until("it has to wait", || {
            get(scene.gate.gateway, "/x", &who.fields()).status == 429
        });
    }
    let attacks = || {
        let metrics = get(scene.gate.metrics(), "/metrics", "").body;
        let attacks = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("realmgate_throttle_attacks_total{whom=\""));
        let mut attacks: Vec<_> = attacks.map(str::to_owned).collect();
        attacks.sort();
        attacks
    };
    let none = ["principal\"} 0", "source\"} 0", "trusted_source\"} 0"];
    assert_eq!(attacks(), none);
    assert!(
        !scene.gate.log().contains("too many failures"),
        "{}",
        scene.gate.log()
    );
    // The seed of an identity that is not valid yet is known, so a wrong token counts as a guess.
    until("it has to wait", || {
        let fields = guessed.fields_with(&guessed.wrong_token());
        get(scene.gate.gateway, "/x", &fields).status == 429
    });
    assert_eq!(attacks()[0], "principal\"} 1");
    scene.wait_for("principal_attacked", 1);
    assert_eq!(
        scene.of("principal_attacked")[0]["subject"]["name"],
        "guessed"
    );
    assert_eq!(scene.of("trusted_source_throttled").len(), 0);
}

#[test]
fn flood_of_denials_is_bounded_and_counted() {
    let scene = Scene::start("denials_per_second = 1\n[throttle]\nsource_failures = 1000000\n");
    let address = scene.gate.gateway;
    let began = Instant::now();
    thread::scope(|scope| {
        for of in 0..4 {
            scope.spawn(move || {
                (0..50).for_each(|n| drop(get(address, "/x", &stranger(100 * of + n))));
            });
        }
    });
    // Changes are not limited, and write the number of lost lines first.
    scene.gate.register("billing", "payments");
    let sum = || {
        let lost = scene.of("audit_lost");
        let lost: u64 = lost.iter().map(|it| it["lost"].as_u64().unwrap()).sum();
        (scene.of("denied").len() as u64, lost)
    };
    until("all are counted", || {
        let (denied, lost) = sum();
        denied + lost == 200
    });
    let (denied, lost) = sum();
    let most = began.elapsed().as_secs() + 2;
    assert!(denied <= most, "{denied} of {most}");
    assert!(lost > 0, "200 requests took as many seconds");
    let report = scene.assert_fine();
    assert_eq!(report["notes"][0]["code"], "lost");
    let metrics = get(scene.gate.metrics(), "/metrics", "").body;
    let expected = format!("realmgate_audit_lost_total {}\n", sum().1);
    assert!(metrics.contains(&expected), "{expected}{metrics}");
}

#[test]
fn flood_that_begins_an_attack_with_each_request_is_bounded_in_both_logs() {
    let limits = "denials_per_second = 8\n[log]\nlines_per_second = 8\n\
                  [throttle]\nfailures = 1\nsource_failures = 1000000\n";
    let scene = Scene::start(limits);
    let address = scene.gate.gateway;
    let began = Instant::now();
    let length = |path: PathBuf| fs::metadata(path).unwrap().len();
    let log = scene.gate.config().with_file_name("log");
    let before = [length(scene.path()), length(log.clone())];
    thread::scope(|scope| {
        for of in 0..4 {
            scope.spawn(move || {
                for n in 0..50 {
                    // The longest possible name, of which each character is escaped.
                    let name = format!("{of}-{n}-{}", "\u{1f600}".repeat(100));
                    let fields = format!(
                        "X-Auth-Name: {name}\r\nX-Auth-Realm: r\r\nX-Auth-Token: 123456\r\n"
                    );
                    assert_eq!(get(address, "/x", &fields).status, 401);
                }
            });
        }
    });
    let lost = || {
        let lost = scene.of("audit_lost").into_iter();
        lost.map(|it| it["lost"].as_u64().unwrap()).sum::<u64>()
    };
    let written = || scene.of("denied").len() + scene.of("principal_attacked").len();
    until("all are counted", || written() as u64 + lost() == 400);
    until("the log tells how many", || {
        scene
            .gate
            .log()
            .contains("log lines over the limit were not written")
    });
    let seconds = began.elapsed().as_secs() + 2;
    assert!(
        written() as u64 <= 8 * seconds,
        "{} in {seconds} s",
        written()
    );
    // Denials that use up the limit do not hide an attack.
    assert!(!scene.of("principal_attacked").is_empty());
    let log_lines = scene.gate.log();
    let denied = log_lines.lines().filter(|it| it.contains("denied"));
    assert!(denied.count() as u64 <= 8 * seconds, "{log_lines}");
    for (path, before) in [(scene.path(), before[0]), (log, before[1])] {
        // The lines that count lost ones are not limited.
        let most = seconds * (8 * 512 + 1024) + 2 * 4096;
        let grown = length(path.clone()) - before;
        assert!(
            grown <= most,
            "{}: {grown} bytes in {seconds} s",
            path.display()
        );
    }
    // Changes by administrators are in both files.
    scene.gate.register("billing", "payments");
    assert_eq!(scene.of("identity_created").len(), 1);
    scene.assert_fine();
    let metrics = get(scene.gate.metrics(), "/metrics", "").body;
    assert!(
        metrics.contains("realmgate_log_lines_over_limit_total "),
        "{metrics}"
    );
    assert!(
        !metrics.contains("realmgate_log_lines_over_limit_total 0\n"),
        "{metrics}"
    );
}

#[test]
fn places_in_the_log_find_a_forgery_that_fits_its_head() {
    for format in ["human", "json"] {
        let mut scene = Scene::start(&format!(
            "note_every = \"100ms\"\n[log]\nformat = \"{format}\"\n"
        ));
        scene.gate.register("one", "payments");
        let head = || fs::read_to_string(scene.folder.path().join("audit.jsonl.head")).unwrap();
        let noted = |head: String| {
            let head: Value = serde_json::from_str(&head).unwrap();
            format!("{}:{}", head["seq"], head["hash"].as_str().unwrap())
        };
        until("the place of the last line", || {
            scene.gate.log().contains(&noted(head()))
        });
        scene.gate.signal("TERM");
        scene.gate.child.wait().unwrap();
        let log = scene.gate.config().with_file_name("log");
        let verify = |args: &[&str]| {
            let mut command = realmgate(&["audit", "verify", "--json"]);
            let output = command.args(args).arg(scene.path()).output().unwrap();
            let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
            (output.status.code().unwrap(), report)
        };
        let with_log = ["--noted-in", log.to_str().unwrap()];
        assert_eq!(verify(&with_log).0, 0);
        // An attacker who may write both files can rewrite them.
        let lines = scene.events().len();
        fs::remove_file(scene.path()).unwrap();
        fs::remove_file(scene.folder.path().join("audit.jsonl.head")).unwrap();
        while !scene.path().exists() || scene.events().len() < lines + 3 {
            let args = ["identity", "set", "one@payments", "--comment", "x"];
            let output = scene.gate.run(&args);
            assert!(output.status.success(), "{}", stderr(&output));
        }
        assert_eq!(verify(&["--whole"]).0, 0);
        let (code, report) = verify(&with_log);
        assert_eq!(
            (code, &report["breaks"][0]["code"]),
            (1, &"not_there".into())
        );
        let empty = scene.folder.path().join("empty");
        fs::write(&empty, "").unwrap();
        assert_eq!(verify(&["--noted-in", empty.to_str().unwrap()]).0, 2);
    }
}

#[test]
fn running_process_notices_by_itself_that_file_and_head_were_made_anew() {
    let scene = Scene::start("note_every = \"100ms\"\n");
    scene.wait_for("serve_started", 1);
    let folder = scene.folder.path();
    // It sees both changes at once.
    scene.gate.signal("STOP");
    for name in ["audit.jsonl", "audit.jsonl.head"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    scene.gate.signal("CONT");
    until("a new file", || scene.path().exists());
    scene.wait_for("audit_broken", 1);
    assert_eq!(scene.of("audit_broken")[0]["reason"], "rewritten");
    assert_eq!(scene.verify(&[scene.path()]).0, 1);
    until("the log", || {
        scene.gate.log().contains("altered by somebody else")
    });
    let metrics = get(scene.gate.metrics(), "/metrics", "").body;
    assert!(
        metrics.contains("realmgate_audit_broken_total 1\n"),
        "{metrics}"
    );
}

#[test]
fn rotated_file_is_released_at_sighup_and_the_chain_continues() {
    let scene = Scene::start("");
    scene.gate.register("one", "payments");
    let rotated = scene.folder.path().join("audit.jsonl.1");
    scene.wait_for("serve_started", 1);
    fs::rename(scene.path(), &rotated).unwrap();
    scene.gate.signal("HUP");
    until("a new file", || scene.path().exists());
    scene.wait_for("config_reloaded", 1);
    assert_eq!(scene.events()[0]["event"], "audit_continued");
    scene.gate.register("two", "payments");
    let (code, report) = scene.verify(&[rotated.clone(), scene.path()]);
    assert_eq!(
        (code, report["notes"].as_array().unwrap().len()),
        (0, 0),
        "{report}"
    );
    let (code, _) = scene.verify(&[scene.path(), rotated.clone()]);
    assert_eq!(code, 2);
    // The next file confirms its end.
    let text = fs::read_to_string(&rotated).unwrap();
    let cut = text.trim_end().rsplit_once('\n').unwrap().0;
    fs::write(&rotated, format!("{cut}\n")).unwrap();
    let (code, report) = scene.verify(&[rotated, scene.path()]);
    assert_eq!((code, &report["breaks"][0]["code"]), (1, &"missing".into()));
}

#[test]
fn rejected_configuration_is_logged() {
    let scene = Scene::start("");
    let text = fs::read_to_string(scene.gate.config()).unwrap();
    fs::write(scene.gate.config(), format!("{text}nonsense = 1\n")).unwrap();
    scene.gate.signal("HUP");
    scene.wait_for("config_refused", 1);
    let refused = &scene.of("config_refused")[0];
    assert!(
        refused["detail"].as_str().unwrap().contains("nonsense"),
        "{refused}"
    );
}

#[test]
fn processes_at_the_same_time_make_one_chain() {
    let scene = Scene::start("denials_per_second = 100000\n");
    let address = scene.gate.gateway;
    thread::scope(|scope| {
        scope.spawn(|| (0..100).for_each(|n| drop(get(address, "/x", &stranger(n)))));
        for n in 0..3 {
            let scene = &scene;
            scope.spawn(move || {
                for m in 0..4 {
                    scene.gate.register(&format!("name-{n}-{m}"), "payments");
                }
            });
        }
    });
    assert_eq!(scene.of("identity_created").len(), 12);
    until("all are written", || scene.denials() == 100);
    scene.assert_fine();
}

#[test]
fn killed_process_leaves_a_valid_log_that_continues() {
    let mut scene = Scene::start("denials_per_second = 100000\n");
    for round in 1..=3 {
        let address = scene.gate.gateway;
        let flood = thread::spawn(move || {
            let mut socket = std::net::TcpStream::connect(address).unwrap();
            for n in 0..10_000 {
                let request = format!("GET /x HTTP/1.1\r\nHost: a\r\n{}\r\n", stranger(n));
                if std::io::Write::write_all(&mut socket, request.as_bytes()).is_err()
                    || crate::harness::read_message(&mut socket).is_none()
                {
                    return;
                }
            }
        });
        let name = format!("name-{round}");
        scene.gate.register(&name, "payments");
        let before = scene.of("denied").len();
        scene.wait_for("denied", before + 1);
        scene.gate = scene.gate.restart();
        flood.join().unwrap();
        scene.assert_fine();
        // Confirmed changes are in the log.
        let created = scene.of("identity_created");
        assert!(created.iter().any(|it| it["subject"]["name"] == *name));
    }
    scene.wait_for("serve_started", 4);
    scene.assert_fine();
}

#[test]
fn every_line_names_the_node_by_default_that_of_the_host() {
    let scene = Scene::start("");
    get(scene.gate.gateway, "/x", "");
    scene.wait_for("denied", 1);
    scene.gate.register("shop", "payments");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let nodes = |scene: &Scene| {
        let events = scene.events().into_iter();
        events.map(|it| it["node"].clone()).collect::<Vec<_>>()
    };
    assert!(nodes(&scene).iter().all(|node| *node == host.trim()));
    let lines = nodes(&scene).len();
    let mut command = realmgate(&["identity", "disable", "shop@payments", "--config"]);
    command.arg(scene.gate.config());
    command.env("REALMGATE_SERVER_NODE", "gate-1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(nodes(&scene)[lines..], ["gate-1"]);
    scene.assert_fine();
}

#[test]
fn end_is_written_after_everything_else() {
    let mut scene = Scene::start("");
    get(scene.gate.gateway, "/x", "");
    scene.gate.signal("TERM");
    scene.gate.child.wait().unwrap();
    let events = scene.events();
    assert_eq!(events.last().unwrap()["event"], "serve_ended");
    assert_eq!(scene.of("denied").len(), 1);
    let pid = scene.gate.child.id();
    assert_eq!(scene.of("serve_started")[0]["pid"], pid);
    scene.assert_fine();
}

#[test]
fn truncation_and_alteration_are_reported_with_exit_code_and_position() {
    let scene = Scene::start("");
    for name in ["a", "b", "c"] {
        scene.gate.register(name, "payments");
    }
    scene.gate.signal("STOP");
    let text = fs::read_to_string(scene.path()).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    fs::write(scene.path(), lines[..lines.len() - 1].concat()).unwrap();
    let path = scene.path().display().to_string();
    let output = realmgate(&["audit", "verify", &path]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("1 lines are missing at the end (cut)"),
        "{}",
        stdout(&output)
    );
    fs::write(scene.path(), text.replacen("\"b\"", "\"x\"", 1)).unwrap();
    let line = lines
        .iter()
        .position(|line| line.contains("\"b\""))
        .unwrap()
        + 1;
    let altered = format!("audit.jsonl:{line}: was altered (altered)");
    let output = realmgate(&["audit", "verify", &path]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains(&altered), "{}", stdout(&output));
    let output = realmgate(&["audit", "verify", "/nowhere"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    scene.gate.signal("CONT");
}

#[test]
fn log_that_cannot_be_written_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    let text =
        crate::harness::configuration(folder.path(), "[audit]\nfile = \"/nowhere/audit.jsonl\"\n");
    fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    for command in [&["serve"][..], &["init"]] {
        let mut args = vec!["--config", &config];
        args.extend(command);
        let output = realmgate(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("audit.file /nowhere/audit.jsonl"),
            "{}",
            stderr(&output)
        );
        assert!(!folder.path().join("realmgate.db").exists());
    }
}

#[test]
fn nothing_is_changed_while_the_log_cannot_be_written() {
    let scene = Scene::start("");
    let admin = scene.gate.register("root", "ungleich-admin");
    let create = |name: &str| {
        let body = format!("{{\"name\":\"{name}\",\"realm\":\"payments\"}}");
        scene.rest(&admin, "POST", "/ungleichotp/", &body)
    };
    // A file that accepts no bytes, as on a full disk.
    let kept = scene.folder.path().join("kept");
    fs::rename(scene.path(), &kept).unwrap();
    std::os::unix::fs::symlink("/dev/full", scene.path()).unwrap();
    get(scene.gate.gateway, "/x", "");
    until("it is noticed", || {
        get(scene.gate.metrics(), "/metrics", "")
            .body
            .contains("realmgate_audit_failing 1\n")
    });
    assert_eq!(create("one"), 503);
    let list = scene.gate.run(&["identity", "list"]);
    assert!(!stdout(&list).contains("\"one\""), "{}", stdout(&list));
    fs::remove_file(scene.path()).unwrap();
    fs::rename(&kept, scene.path()).unwrap();
    until("it is written again", || {
        get(scene.gate.metrics(), "/metrics", "")
            .body
            .contains("realmgate_audit_failing 0\n")
    });
    assert_eq!(create("two"), 201);
    // The denial that could not be written is counted.
    assert_eq!(scene.of("audit_lost").len(), 1);
    scene.assert_fine();
}

#[test]
fn replaced_process_and_the_new_one_write_into_one_chain() {
    let scene = Scene::start("");
    let old = scene.gate.pid();
    scene.gate.signal("USR2");
    until("the new one", || scene.gate.pid() != old);
    scene.wait_for("serve_ended", 1);
    assert_eq!(scene.of("serve_ended")[0]["reason"], "replaced");
    assert_eq!(scene.of("serve_started").len(), 2);
    scene.gate.register("billing", "payments");
    scene.assert_fine();
}

#[test]
fn without_the_line_there_is_no_log() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    gate.register("billing", "payments");
    let folder = gate.config().parent().unwrap().to_owned();
    let mut listed = Command::new("ls");
    let names = stdout(&listed.arg(folder).output().unwrap());
    assert!(!names.contains("audit"), "{names}");
}
