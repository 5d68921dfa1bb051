//! Commands that run on a server, over its administration API.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Caller, Gate, get, realmgate, stderr, stdout, until};

/// An administrator who runs commands on a gate, without its configuration.
struct Remote<'a> {
    gate: &'a Gate,
    folder: tempfile::TempDir,
    admin: Caller,
}

impl<'a> Remote<'a> {
    fn of(gate: &'a Gate) -> Self {
        let admin = gate.register("admin", "ungleich-admin");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("seed"), &admin.seed).unwrap();
        Self {
            gate,
            folder,
            admin,
        }
    }

    /// Runs a command, with its options for the server at the end.
    fn output(&self, args: &[&str]) -> Output {
        let seed = self.folder.path().join("seed");
        realmgate(args)
            .current_dir(self.folder.path())
            .args([
                "--json",
                "--server",
                &format!("http://{}", self.gate.service),
            ])
            .args(["--as", "admin@ungleich-admin", "--seed-file"])
            .arg(seed)
            .output()
            .unwrap()
    }

    fn run(&self, args: &[&str]) -> Vec<Value> {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        lines(&output)
    }
}

fn lines(output: &Output) -> Vec<Value> {
    let text = stdout(output);
    let lines = text.lines().map(serde_json::from_str);
    lines.map(Result::unwrap).collect()
}

fn of(created: &Value) -> Caller {
    let text = |member: &str| created[member].as_str().unwrap().to_owned();
    Caller {
        name: text("name"),
        realm: text("realm"),
        seed: text("seed"),
    }
}

/// Returns the number of failures at all sources.
fn count(throttle: &Value) -> u64 {
    let of = |member: &str| throttle[member].as_u64().unwrap();
    of("failures") + of("trusted_failures")
}

fn passes(gate: &Gate, caller: &Caller) -> bool {
    get(gate.service, "/forward-auth", &caller.fields()).status == 200
}

#[test]
fn list_is_filtered_and_sorted_here_and_there() {
    let gate = Gate::start("");
    let remote = Remote::of(&gate);
    for name in ["b", "a", "c"] {
        gate.register(name, "x");
    }
    assert!(gate.run(&["identity", "disable", "a@x"]).status.success());
    for name in ["a", "b"] {
        let weak = format!(
            "UPDATE identity SET seed = substr(seed, 1, 60) WHERE name = '{name}' RETURNING 1"
        );
        assert_eq!(gate.number(&weak), 1);
    }
    let names = |lines: Vec<Value>| -> Vec<String> {
        let name = |it: Value| it["name"].as_str().unwrap().to_owned();
        lines.into_iter().map(name).collect()
    };
    for (options, expected) in [
        (vec!["--realm", "x"], vec!["b", "a", "c"]),
        (vec!["--realm", "x", "--sort", "-name"], vec!["c", "b", "a"]),
        (vec!["--realm", "x", "--state", "disabled"], vec!["a"]),
        (vec!["--realm=x", "--condition=weak"], vec!["b"]),
        (
            vec!["--sort=-realm", "--state=enabled"],
            vec!["c", "b", "admin"],
        ),
    ] {
        let args = [&["identity", "list"][..], &options[..]].concat();
        assert_eq!(names(lines(&gate.run(&args))), expected, "{options:?}");
        assert_eq!(names(remote.run(&args)), expected, "{options:?}");
    }
    for wrong in ["--sort=age", "--condition=old", "--state=away"] {
        let output = gate.run(&["identity", "list", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn server_does_what_the_local_commands_do() {
    let gate = Gate::start("");
    let remote = Remote::of(&gate);
    let created = &remote.run(&["identity", "create", "svc@payments", "--comment", "x"])[0];
    let caller = of(created);
    assert!(passes(&gate, &caller));
    assert!(created["uri"].as_str().unwrap().starts_with("otpauth://"));
    // What is shown is the same as locally, but for the failures.
    for args in [
        &["identity", "show", "svc@payments"][..],
        &["identity", "list"],
        &["identity", "list", "--realm", "payments"],
        &["key", "show"],
        &["explain", "GET", "http://h/"],
    ] {
        let here = gate.run(args);
        let there = remote.output(args);
        let values = |output: &Output| -> Vec<Value> {
            let mut values = lines(output);
            values.iter_mut().for_each(|it| {
                it.as_object_mut().unwrap().remove("throttle");
                // Saved once a second.
                it.as_object_mut().unwrap().remove("last_used");
            });
            values
        };
        assert_eq!(
            values(&there),
            values(&here),
            "{args:?}: {}",
            stderr(&there)
        );
        assert_eq!(there.status.code(), here.status.code(), "{args:?}");
    }
    let set = &remote.run(&[
        "identity",
        "set",
        "svc@payments",
        "--expires",
        "2100-01-01T00:00:00Z",
    ])[0];
    assert_eq!(
        (&set["expires"], &set["comment"]),
        (&json!(4_102_444_800_u64), &json!("x"))
    );
    let rotated = of(&remote.run(&["identity", "rotate", "svc@payments", "--grace", "1h"])[0]);
    assert!(passes(&gate, &caller) && passes(&gate, &rotated));
    let again = remote.output(&["identity", "rotate", "svc@payments"]);
    assert_eq!(again.status.code(), Some(1), "{}", stderr(&again));
    remote.run(&["identity", "disable", "svc@payments"]);
    assert!(!passes(&gate, &rotated));
    remote.run(&["identity", "enable", "svc@payments"]);
    assert!(passes(&gate, &rotated));
    // Those of the second in which it was enabled do not count.
    until("failures count", || {
        let wrong = rotated.fields_with(&rotated.wrong_token());
        get(gate.service, "/forward-auth", &wrong);
        let shown = &remote.run(&["identity", "show", "svc@payments"])[0]["throttle"];
        count(shown) > 0
    });
    let cleared = &remote.run(&["identity", "unthrottle", "svc@payments"])[0];
    assert!(count(&cleared["forgiven"]) > 0, "{cleared}");
    let status = &remote.run(&["status"])[0];
    assert_eq!(status["store"]["ready"], true);
    remote.run(&["identity", "delete", "--name", "svc", "--realm", "payments"]);
    assert!(!passes(&gate, &rotated));
    let gone = remote.output(&["identity", "show", "svc@payments"]);
    assert_eq!(gone.status.code(), Some(1), "{}", stderr(&gone));
}

#[test]
fn seeds_of_identity_and_administrator_are_distinguished() {
    let gate = Gate::start("");
    let remote = Remote::of(&gate);
    let seed = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    fs::write(remote.folder.path().join("own"), seed).unwrap();
    let created = &remote.run(&[
        "identity",
        "create",
        "svc@payments",
        "--new-seed-file",
        "own",
    ])[0];
    assert_eq!(created["seed"], seed);
    let own = remote.folder.path().join("own");
    let local = [
        "identity",
        "create",
        "here@payments",
        "--seed-file",
        own.to_str().unwrap(),
    ];
    assert_eq!(lines(&gate.run(&local))[0]["seed"], seed);
}

#[test]
fn caller_without_a_right_and_servers_that_are_none_are_named() {
    let gate = Gate::start("");
    let remote = Remote::of(&gate);
    let user = gate.register("user", "payments");
    let run = |url: &str, caller: &Caller, token: &str| {
        let who = format!("{}@{}", caller.name, caller.realm);
        let output = realmgate(&[
            "identity", "list", "--server", url, "--as", &who, "--token", token,
        ])
        .output()
        .unwrap();
        (output.status.code(), stderr(&output))
    };
    let url = format!("http://{}", gate.service);
    let (code, text) = run(&url, &user, &user.token());
    let expected = format!("{url}: user@payments may not do this");
    assert!(code == Some(1) && text.contains(&expected), "{text}");
    let (code, text) = run(&url, &remote.admin, &remote.admin.wrong_token());
    let expected = format!("{url}: the credential of admin@ungleich-admin was rejected");
    assert!(code == Some(1) && text.contains(&expected), "{text}");
    let metrics = format!("http://{}", gate.metrics());
    let (code, text) = run(&metrics, &user, &user.token());
    let expected = format!("{metrics}: not a response of realmgate's administration API");
    assert!(code == Some(3) && text.contains(&expected), "{text}");
    let (code, _) = run("http://127.0.0.1:1", &user, &user.token());
    assert_eq!(code, Some(3));
    for args in [
        &["identity", "list", "--server", "http://h"][..],
        &["identity", "list", "--as", "a@b"],
        &["identity", "list", "--server", "http://h", "--as", "a@b"],
        &["status"],
    ] {
        assert_eq!(
            realmgate(args).output().unwrap().status.code(),
            Some(2),
            "{args:?}"
        );
    }
}

#[test]
fn many_are_created_from_a_file_here_and_there() {
    let gate = Gate::start("");
    let remote = Remote::of(&gate);
    let mut text = String::new();
    for n in 0..1100 {
        text.push_str(&format!("n{n}@bulk\n"));
    }
    text.push_str("\n{\"name\":\"json\",\"realm\":\"bulk\",\"comment\":\"c\"}\n");
    let file = remote.folder.path().join("new");
    fs::write(&file, &text).unwrap();
    let file = file.to_str().unwrap();
    // A seed in place of the name of the file is not printed.
    let seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let said = stderr(&gate.run(&["identity", "create", "--from", seed]));
    assert!(
        said.contains("looks like a seed") && !said.contains(seed),
        "{said}"
    );
    let created = remote.run(&["identity", "create", "--from", file]);
    assert_eq!(created.len(), 1101);
    assert!(passes(&gate, &of(&created[0])) && passes(&gate, &of(&created[1100])));
    // All are there now.
    for output in [
        remote.output(&["identity", "create", "--from", file]),
        gate.run(&["identity", "create", "--from", file]),
    ] {
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert_eq!(stderr(&output).matches("\"warning\"").count(), 1101);
        assert!(stdout(&output).is_empty());
    }
    // A name that is there again is rejected, in the same request and in a later one, as locally.
    let mut text = "n0@here\nn0@here\n".to_owned();
    for n in 1..600 {
        text.push_str(&format!("n{n}@here\n"));
    }
    text.push_str("n1@here\n");
    let again = remote.folder.path().join("again");
    fs::write(&again, &text).unwrap();
    fs::write(
        remote.folder.path().join("again-2"),
        text.replace("here", "there"),
    )
    .unwrap();
    let there = remote.output(&["identity", "create", "--from", "again-2"]);
    let here = gate.run(&["identity", "create", "--from", again.to_str().unwrap()]);
    for output in [here, there] {
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert_eq!(lines(&output).len(), 600);
        assert_eq!(stderr(&output).matches("\"warning\"").count(), 2);
    }
    // An interrupted run goes on with its key.
    let resumed = |name: &str| {
        fs::write(remote.folder.path().join("two"), format!("{name}@two\n")).unwrap();
        let key = "00112233445566778899aabbccddeeff";
        let args = ["identity", "create", "--from", "two", "--resume", key];
        remote.output(&args)
    };
    let (first, again) = (resumed("a"), resumed("a"));
    assert_eq!(lines(&first)[0]["seed"], lines(&again)[0]["seed"]);
    let exported = remote.run(&["identity", "export", "--realm", "bulk"]);
    let here = lines(&gate.run(&["identity", "export", "--realm", "bulk"]));
    assert_eq!((exported.len(), here.len()), (1101, 1101));
    assert_eq!(exported[1100]["comment"], "c");
    assert!(exported[0].get("seed").is_none());
    // From standard input, on the local database.
    let mut child = realmgate(&["identity", "create", "--from", "-", "--json", "--config"])
        .arg(gate.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"x@stdin\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(passes(&gate, &of(&lines(&output)[0])));
    for wrong in [
        "none",
        "{",
        "{\"name\":\"a\"}",
        "{\"name\":\"a\",\"realm\":\"b\",\"c\":1}",
    ] {
        fs::write(remote.folder.path().join("wrong"), wrong).unwrap();
        let output = remote.output(&["identity", "create", "--from", "wrong"]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        let said = stderr(&output);
        assert_eq!(said.matches("line 1").count(), 1, "{said}");
    }
}

#[test]
fn errors_of_a_server_name_it_and_what_they_are_about() {
    let gate = Gate::start("");
    let remote = Remote::of(&gate);
    let server = format!("http://{}: ", gate.service);
    let said = |output: &Output| -> String {
        let error: Value = serde_json::from_str(stderr(output).trim()).unwrap();
        error["error"].as_str().unwrap().to_owned()
    };
    let who = "svc@payments";
    let missing = "no identity svc@payments";
    for command in [
        "show",
        "rotate",
        "unthrottle",
        "disable",
        "enable",
        "delete",
        "set",
    ] {
        let mut args = vec!["identity", command, who];
        if command == "set" {
            args.extend(["--comment", "x"]);
        }
        let (here, there) = (gate.run(&args), remote.output(&args));
        assert_eq!(said(&here), missing, "{command}");
        assert_eq!(said(&there), format!("{server}{missing}"), "{command}");
        assert_eq!(
            (here.status.code(), there.status.code()),
            (Some(1), Some(1))
        );
    }
    remote.run(&["identity", "create", who]);
    let again = ["identity", "create", who];
    let taken = said(&gate.run(&again));
    assert_eq!(said(&remote.output(&again)), format!("{server}{taken}"));
    assert!(
        taken.contains("svc") && taken.contains("payments"),
        "{taken}"
    );
    remote.run(&["identity", "rotate", who, "--grace", "1h"]);
    let output = remote.output(&["identity", "rotate", who]);
    let text = said(&output);
    assert!(
        text.starts_with(&server) && text.contains("valid until 20"),
        "{text}"
    );
    assert!(text.contains("--force"), "{text}");
}

#[test]
fn exported_identities_are_created_with_new_seeds_except_disabled_ones() {
    let (gate, other) = (Gate::start(""), Gate::start(""));
    let (remote, there) = (Remote::of(&gate), Remote::of(&other));
    let old = &remote.run(&["identity", "create", "svc@payments", "--comment", "c"])[0];
    remote.run(&["identity", "create", "eight@payments", "--digits", "8"]);
    remote.run(&["identity", "create", "off@payments"]);
    remote.run(&["identity", "disable", "off@payments"]);
    let exported = remote.output(&["identity", "export", "--realm", "payments"]);
    let file = there.folder.path().join("exported");
    fs::write(&file, &exported.stdout).unwrap();
    let file = file.to_str().unwrap();
    let args = ["identity", "create", "--from", file];
    let output = there.output(&args);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("line 3, \\\"off\\\" in realm"), "{said}");
    assert!(said.contains("disabled"), "{said}");
    let created = lines(&output);
    assert_eq!(created.len(), 2);
    assert_eq!(
        (&created[0]["comment"], &created[1]["digits"]),
        (&json!("c"), &json!(8))
    );
    assert_ne!(created[0]["seed"], old["seed"]);
    assert!(passes(&other, &of(&created[0])));
    // Again, on its database: each line is named.
    let again = other.run(&args);
    let said = stderr(&again);
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(
        said.contains(
            "line 1, \\\"svc\\\" in realm \\\"payments\\\": this identity exists already"
        ),
        "{said}"
    );
}

#[test]
fn options_that_cannot_be_meant_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let args = [&["identity", "create"], args].concat();
        let output = realmgate(&args)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        stderr(&output)
    };
    let server = ["--server", "http://127.0.0.1:1", "--as", "a@b"];
    let said = run(&[&["--from", "-", "--seed-file", "-"][..], &server].concat());
    assert!(
        said.contains("only one of --from and --seed-file"),
        "{said}"
    );
    let said = run(&[
        &["svc@x", "--new-seed-file", "-", "--seed-file", "-"][..],
        &server,
    ]
    .concat());
    assert!(
        said.contains("only one of --seed-file and --new-seed-file"),
        "{said}"
    );
    let resume = ["--from", "x", "--seed-file", "y", "--resume", "abc"];
    let said = run(&[&resume[..], &server].concat());
    assert!(said.contains("32 digits"), "{said}");
    let said = run(&["--from", "x", "--seed-file", "y"]);
    assert!(said.contains("--seed-file without --server"), "{said}");
    for option in [
        ["--comment", "c"],
        ["--digits", "8"],
        ["--expires", "30d"],
        ["--not-before", "30d"],
    ] {
        let said = run(&[&["--from", "x"][..], &option].concat());
        assert!(said.contains(option[0]), "{said}");
    }
}

#[test]
fn status_says_in_words_who_is_throttled() {
    let gate = Gate::start(
        "[throttle]\nfailures = 2\nsource_failures = 100\ndelay = \"1h\"\nlongest_delay = \"1h\"\n",
    );
    let remote = Remote::of(&gate);
    let text = || {
        let seed = remote.folder.path().join("seed");
        let output = realmgate(&["status", "--server", &format!("http://{}", gate.service)])
            .args(["--as", "admin@ungleich-admin", "--seed-file"])
            .arg(seed)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let before = text();
    assert!(before.contains("throttled  none\n"), "{before}");
    assert!(
        before.contains("identities 1 in 1 realm, 0 disabled\n"),
        "{before}"
    );
    let svc = gate.register("svc", "payments");
    for _ in 0..4 {
        let wrong = svc.fields_with(&svc.wrong_token());
        get(gate.service, "/forward-auth", &wrong);
    }
    let after = text();
    assert!(after.contains("throttled  1 identity\n"), "{after}");
    assert!(
        after.contains("identities 2 in 2 realms, 0 disabled\n"),
        "{after}"
    );
}
