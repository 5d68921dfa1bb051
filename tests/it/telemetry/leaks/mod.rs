//! Seeds and tokens pass through everything, and appear in no output.

mod calls;
mod secrets;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::authentication::oracle;
use crate::harness::{Gate, Upstream, get, realmgate, routes, stderr, stdout, until};
use crate::telemetry::traces::collector;
use calls::{Holder, call_everything, over_http2};
use secrets::{Secrets, forms};

/// A token that cannot be computed, so it does not occur by chance.
const CANARY: &str = "CANARY7Zq";

fn configuration(format: &str, upstream: &Upstream, collector: &str, folder: &Path) -> String {
    format!(
        "h2c = true\n[grpc]\nlisten = \"127.0.0.1:0\"\n\
         [log]\nfilter = \"trace\"\nformat = \"{format}\"\naccess = \"all\"\naccess_file = \"{}\"\n\
         [otlp]\nendpoint = \"{collector}\"\n\
         [audit]\nfile = \"{}\"\ndenials_per_second = 100000\n\
         [throttle]\nfailures = 1000\nsource_failures = 100000\n\
         [realm.once]\nreuse = \"once\"\n\
         [[route]]\nname = \"dead\"\nhost = \"dead.example\"\nallow = \"authenticated\"\n\
         upstream = \"dead\"\n{}\n[upstream.dead]\npeers = [\"127.0.0.1:1\"]\n",
        folder.join("access").display(),
        folder.join("audit.jsonl").display(),
        routes(upstream.address)
    )
}

/// Removes request paths, which belong to the client, from a log.
fn without_paths(log: &str) -> Vec<u8> {
    let lines = log.lines().map(|line| {
        let keys = ["\"path\":\"", " path=\""];
        let Some((before, rest)) = keys.iter().find_map(|key| line.split_once(key)) else {
            return format!("{line}\n");
        };
        let mut is_escaped = false;
        let end = rest.find(|char| {
            let is_end = char == '"' && !is_escaped;
            is_escaped = char == '\\' && !is_escaped;
            is_end
        });
        let (_, after) = rest.split_at(end.unwrap());
        format!("{before}{after}\n")
    });
    let rest: String = lines.collect();
    assert!(rest.len() > 10_000, "{log}");
    rest.into_bytes()
}

fn go_through(format: &str) {
    let upstream = Upstream::start();
    let audit = tempfile::tempdir().unwrap();
    let (collector, _runtime, endpoint) = collector();
    let gate = Gate::start(&configuration(format, &upstream, &endpoint, audit.path()));
    let who = Holder::register(&gate, "billing", "payments");
    let once = Holder::register(&gate, "single", "once");
    let admin = Holder::register(&gate, "admin", "ungleich-admin");
    let verifier = Holder::register(&gate, "checker", "ungleich-auth");
    let mut secrets = Secrets {
        forms: forms(CANARY.as_bytes()),
        tokens: vec![],
    };
    for holder in [&who, &once, &admin, &verifier] {
        secrets.forms.extend(forms(holder.seed.as_bytes()));
        secrets.tokens.push(holder.token());
    }

    let mut replies = Vec::new();
    for token in [CANARY, &*who.token()] {
        replies.extend(call_everything(&gate, &who, &admin, &verifier, token));
        over_http2(&gate, &who.fields(token));
        let _ = oracle::check(&gate, &oracle::check_request(&who.name, &who.realm, token));
    }
    replies.push(get(gate.gateway, "/x", &once.fields(&once.token())));
    replies.push(get(gate.gateway, "/x", &once.fields(&once.token())));
    let path = "/ungleichotp/";
    replies.push(get(gate.service, path, &admin.fields(&admin.token())));
    for holder in [&who, &once, &admin, &verifier] {
        secrets.tokens.push(holder.token());
    }
    assert!(replies.iter().any(|it| it.status == 200));
    for reply in &replies {
        secrets.assert_not_in(
            "an answer",
            format!("{}\n{}", reply.head, reply.body).as_bytes(),
        );
    }
    // Path and query belong to the client, and are forwarded unchanged.
    for seen in upstream.seen() {
        let (line, rest) = seen.split_once("\r\n").unwrap();
        secrets.assert_not_in(
            &format!("what the upstream got after {line:?}"),
            rest.as_bytes(),
        );
    }

    for command in [
        &["identity", "list"][..],
        &[
            "identity", "show", "--name", "billing", "--realm", "payments",
        ],
        &[
            "identity",
            "set",
            "--name",
            "billing",
            "--realm",
            "payments",
            "--comment",
            "x",
        ],
        &[
            "identity", "disable", "--name", "billing", "--realm", "payments",
        ],
        &[
            "identity", "enable", "--name", "billing", "--realm", "payments",
        ],
        &[
            "identity",
            "unthrottle",
            "--name",
            "billing",
            "--realm",
            "payments",
        ],
        &[
            "identity", "create", "--name", "billing", "--realm", "payments",
        ],
        &[
            "identity", "rotate", "--name", "single", "--realm", "once", "--grace", "1h",
        ],
        &["identity", "delete", "--name", "single", "--realm", "once"],
        &["check"],
    ] {
        secrets.assert_not_said(&command.join(" "), &gate.run(command));
    }

    until("what was used is saved", || {
        let output = gate.run(&[
            "identity", "show", "--name", "billing", "--realm", "payments",
        ]);
        stdout(&output).contains("last_used")
    });
    let metrics = get(gate.metrics(), "/metrics", "").body;
    assert!(metrics.contains("wrong_token"), "{metrics}");
    secrets.assert_not_in("/metrics", metrics.as_bytes());
    let pid = gate.pid();
    for file in ["cmdline", "environ", "status", "comm"] {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
        secrets.assert_not_in(&format!("/proc/{pid}/{file}"), &bytes);
    }
    gate.signal("HUP");
    until("reloaded", || gate.log().contains("reload"));
    gate.signal("TERM");
    until("ended", || {
        !Path::new(&format!("/proc/{pid}/exe")).exists() || gate.log().contains("stopped")
    });

    assert!(collector.spans().len() > 100, "{:?}", collector.spans());
    for mut span in collector.spans() {
        // The path belongs to the client, here as in the access log.
        span.attributes.retain(|it| it.key != "url.path");
        secrets.assert_not_in("a span", format!("{span:?}").as_bytes());
    }
    let log = gate.log();
    for word in ["wrong_token", "TRACE"] {
        assert!(log.contains(word), "{word}: {log}");
    }
    // The log, the database with its journal, the ready file and the audit log. The configuration
    // belongs to the user.
    let mut files = Vec::new();
    for folder in [gate.config().parent().unwrap(), audit.path()] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            if path.ends_with("access") || path.ends_with("log") {
                bytes = without_paths(&String::from_utf8(bytes).unwrap());
            }
            secrets.assert_not_in(&path.display().to_string(), &bytes);
            files.push(path.file_name().unwrap().to_owned());
        }
    }
    for file in ["log", "ready.json", "realmgate.db", "audit.jsonl", "access"] {
        assert!(files.iter().any(|it| it == file), "{file}: {files:?}");
    }
    let audit = fs::read_to_string(audit.path().join("audit.jsonl")).unwrap();
    for event in ["denied", "identity_rotated"] {
        assert!(audit.contains(event), "{event}: {audit}");
    }
}

#[test]
fn no_secret_stays_in_anything_a_server_writes_for_people() {
    go_through("human");
}

#[test]
fn no_secret_stays_in_anything_a_server_writes_as_json() {
    go_through("json");
}

#[test]
fn no_command_prints_a_secret() {
    let secret = "CANARYCANARYCANARY7Z";
    let secrets = Secrets {
        forms: forms(secret.as_bytes()),
        tokens: vec![],
    };
    let caller = [
        "--server-url",
        "http://127.0.0.1:1",
        "--auth-name",
        "a",
        "--auth-realm",
        "r",
    ];
    let database = format!("postgres://otp:{secret}@127.0.0.1:1/otp");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    fs::write(&config, crate::harness::configuration(folder.path(), "")).unwrap();
    let config = ["--config", config.to_str().unwrap()];
    for (args, environment) in [
        (
            [&["token", "--seed", secret][..], &["--nonsense"]].concat(),
            None,
        ),
        (vec!["token", "--seed", "CANARYCANARYCANARY7Z81"], None),
        (
            vec!["token"],
            Some(("REALMGATE_SEED", "CANARYCANARYCANARY7Z81")),
        ),
        (
            [&["client", "list"], &caller[..], &["--auth-seed", secret]].concat(),
            None,
        ),
        (
            [&["client", "list"], &caller[..], &["--auth-token", secret]].concat(),
            None,
        ),
        (
            [&["client", "list"], &caller[..]].concat(),
            Some(("UNGLEICHOTPSEED", secret)),
        ),
        (
            [
                &["client", "verify", "--name", "n", "--realm", "r"],
                &caller[..],
                &["--auth-seed", secret, "--token", secret],
            ]
            .concat(),
            None,
        ),
        (vec!["import", "django", &*database], None),
        (
            [
                &["import", "django", "postgres://otp@127.0.0.1:1/otp"],
                &config[..],
            ]
            .concat(),
            Some(("PGPASSWORD", secret)),
        ),
        (vec!["serve"], Some(("REALMGATE_STORE_URL", &*database))),
        (vec!["serve"], Some(("REALMGATE_STORE_KEY", secret))),
    ] {
        let mut command = realmgate(&args);
        command.current_dir(folder.path()).stdin(Stdio::null());
        if let Some((name, value)) = environment {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        assert!(!stderr(&output).is_empty(), "{args:?}");
        secrets.assert_not_said(&format!("{args:?}"), &output);
    }
}

#[test]
fn no_mistake_in_a_configuration_shows_a_secret() {
    let secret = "CANARYCANARYCANARY7Z";
    let secrets = Secrets {
        forms: forms(secret.as_bytes()),
        tokens: vec![],
    };
    let route = |line: &str| {
        format!(
            "[[route]]\nname = \"a\"\nallow = \"anyone\"\nupstream = \"a\"\n{line}\n\
             [upstream.a]\npeers = [\"127.0.0.1:1\"]\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    fs::write(&key, secret).unwrap();
    for text in [
        format!("[store]\nurl = \"postgres://u:{secret}@h/db\"\n"),
        format!("[store]\nurl = [\"postgres://u:{secret}@h/db\"]\n"),
        format!("[store]\nurl = \"postgres://u:{secret}@h/db\n"),
        format!("[store]\nurl = postgres://u:{secret}@h/db\n"),
        format!("[store]\nkey_file = \"{}\"\n", key.display()),
        format!(
            "[[certificate]]\ncert = \"{0}\"\nkey = \"{0}\"\n",
            key.display()
        ),
        route(&format!("request_headers = \"Bearer {secret}\"")),
        route(&format!(
            "request_headers = {{ set = \"Bearer {secret}\" }}"
        )),
        route(&format!(
            "request_headers = {{ set = [\"Bearer {secret}\"] }}"
        )),
        route(&format!(
            "request_headers = {{ set = {{ \"X-Key\" = [\"{secret}\"] }} }}"
        )),
        route(&format!(
            "request_headers = {{ set = {{ \"X-Key\" = \"{secret}\\n\" }} }}"
        )),
        route(&format!(
            "request_headers = {{ sets = {{ \"X-Key\" = \"{secret}\" }} }}"
        )),
        route(&format!(
            "request_headers = {{ set = {{ \"Host\" = \"{secret}\" }} }}"
        )),
        route(&format!(
            "request_headers = {{ set = {{ \"X-Key\" = \"{secret} }} }}"
        )),
    ] {
        let config = folder.path().join("realmgate.toml");
        fs::write(&config, &text).unwrap();
        for command in ["check", "serve"] {
            let mut command = realmgate(&[command, "--config"]);
            let output = command
                .arg(&config)
                .current_dir(folder.path())
                .output()
                .unwrap();
            if output.status.success() {
                // Whether the key file is valid shows only when it is used.
                continue;
            }
            assert!(!stderr(&output).is_empty());
            secrets.assert_not_said(&text, &output);
        }
    }
}
