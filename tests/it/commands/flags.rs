//! Properties of every command. The commands are enumerated, so that a new one is not forgotten.

use std::fs;
use std::process::Output;

use clap::{Arg, Command};
use serde_json::Value;

use crate::harness::{Caller, Gate, realmgate, stderr, stdout};

/// Returns each leaf command with its path.
fn leaves() -> Vec<(String, Command)> {
    fn visit(path: &[&str], command: &Command, leaves: &mut Vec<(String, Command)>) {
        let below: Vec<_> = command
            .get_subcommands()
            .filter(|it| it.get_name() != "help")
            .collect();
        if below.is_empty() {
            leaves.push((path.join(" "), command.clone()));
        }
        for command in below {
            visit(&[path, &[command.get_name()]].concat(), command, leaves);
        }
    }
    let mut leaves = Vec::new();
    visit(&[], &realmgate::cli::command(), &mut leaves);
    leaves
}

/// Returns the arguments of a valid call of each command, in this order; `None` for a command
/// without JSON output.
fn calls(gate: &Gate, [admin, verifier]: &[Caller; 2]) -> Vec<(&'static str, Option<Vec<String>>)> {
    let file = |name: &str| {
        let path = gate.config().with_file_name(name);
        path.display().to_string()
    };
    let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let who = "x@y";
    let client_of = |caller: &Caller, rest: &str| {
        words(&format!(
            "{rest} --server-url http://{} --auth-name {} --auth-realm {} --auth-seed {}",
            gate.service, caller.name, caller.realm, caller.seed
        ))
    };
    let client = |rest: &str| client_of(admin, rest);
    let status = format!(
        "--server http://{} --as {}@{} --token {}",
        gate.service,
        admin.name,
        admin.realm,
        admin.token()
    );
    let verify = format!("verify verifier@ungleich-auth --seed {}", verifier.seed);
    fs::write(file("admin.seed"), &admin.seed).unwrap();
    let case = "[[case]]\nrequest = \"GET https://app.example/\"\nexpect = \"deny\"\n";
    fs::write(file("cases.toml"), case).unwrap();
    let doctor = format!(
        "http://{}/ungleichotp/ --as admin@ungleich-admin --seed-file {}",
        gate.service,
        file("admin.seed")
    );
    vec![
        ("demo", None),
        ("serve", None),
        (
            "reload",
            // The file of the scene has keys that need a restart.
            words(&format!("--no-wait --ready-file {}", file("ready.json"))),
        ),
        (
            "healthcheck",
            words(&format!("--ready-file {}", file("ready.json"))),
        ),
        ("completions", None),
        ("man", None),
        ("check", words("")),
        ("explain", words("GET /")),
        ("policy test", words(&file("cases.toml"))),
        ("doctor", words(&doctor)),
        ("admin link", words("admin@ungleich-admin")),
        ("init", words("--name first")),
        ("identity create", words(who)),
        ("identity set", words("x@y --comment z")),
        ("identity list", words("")),
        ("identity export", words("")),
        ("identity show", words(who)),
        ("identity rotate", words(who)),
        ("identity unthrottle", words(who)),
        ("identity disable", words(who)),
        ("identity enable", words(who)),
        ("identity delete", words(who)),
        ("key generate", words("")),
        ("key show", words("")),
        ("key check", words("")),
        ("key rotate", words("")),
        ("key retire", words("")),
        ("status", words(&status)),
        ("backup", words(&file("copy.db"))),
        (
            "store copy",
            words(&format!(
                "--from sqlite:{} --to sqlite:{}",
                file("realmgate.db"),
                file("other.db")
            )),
        ),
        ("audit verify", words(&file("audit.jsonl"))),
        ("import django", words(&file("django.db"))),
        (
            "policy diff",
            words(&[&*file("realmgate.toml"), &*file("realmgate.toml")].join(" ")),
        ),
        ("client", client("create a@b")),
        ("client", client("list")),
        ("client", client("update a@b --new-name c")),
        ("client", client_of(verifier, &verify)),
        ("client", client("delete c@b")),
        ("token", words("--seed JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")),
        (
            "token",
            words(&format!("--seed-file {}", file("admin.seed"))),
        ),
        (
            "client",
            words(&format!(
                "list --server-url http://{} --auth-name admin --auth-realm ungleich-admin --auth-seed-file {}",
                gate.service,
                file("admin.seed")
            )),
        ),
        (
            "client",
            client_of(
                verifier,
                &format!(
                    "verify admin@ungleich-admin --seed-file {}",
                    file("admin.seed")
                ),
            ),
        ),
    ]
}

/// Parses a sequence of JSON values.
fn values(text: &str) -> Result<Vec<Value>, serde_json::Error> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect()
}

/// Returns a server with data for the commands, and two callers who may administer and verify.
fn scene() -> (Gate, [Caller; 2]) {
    let gate = Gate::start("");
    let folder = gate.config().parent().unwrap().to_owned();
    let text = fs::read_to_string(gate.config()).unwrap();
    let audit = format!(
        "[admin]\nlisten = \"127.0.0.1:8083\"\n[audit]\nfile = \"{}\"\n",
        folder.join("audit.jsonl").display()
    );
    fs::write(gate.config(), text + &audit).unwrap();
    let cases = "[[case]]\nrequest = 'GET /'\nexpect = 'deny'\n";
    fs::write(folder.join("cases.toml"), cases).unwrap();
    let django = rusqlite::Connection::open(folder.join("django.db")).unwrap();
    django
        .execute_batch(
            "CREATE TABLE otpauth_otpseed (id INTEGER PRIMARY KEY, name TEXT, realm TEXT, seed TEXT);
             INSERT INTO otpauth_otpseed VALUES (1, 'a', 'b', 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP');",
        )
        .unwrap();
    let callers = [("admin", "ungleich-admin"), ("verifier", "ungleich-auth")];
    let callers = callers.map(|(name, realm)| gate.register(name, realm));
    (gate, callers)
}

fn run(gate: &Gate, command: &str, args: &[String], more: &[&str]) -> Output {
    let args = args.iter().filter(|arg| !arg.is_empty());
    realmgate(&command.split(' ').collect::<Vec<_>>())
        .args(args)
        .args(more)
        .arg("--config")
        .arg(gate.config())
        .env("CLICOLOR", "1")
        .output()
        .unwrap()
}

#[test]
fn every_command_prints_json_where_that_is_asked_for_or_says_that_it_has_none() {
    let (gate, callers) = scene();
    let calls = calls(&gate, &callers);
    for (command, _) in leaves() {
        assert!(
            calls.iter().any(|(it, _)| *it == command),
            "{command} is not tried"
        );
    }
    for (command, args) in calls {
        let Some(args) = args else {
            let required = match command {
                "completions" => vec!["bash".to_owned()],
                "man" => vec![gate.config().with_file_name("man").display().to_string()],
                _ => vec![],
            };
            let output = run(&gate, command, &required, &["--json"]);
            assert_eq!(output.status.code(), Some(2), "{command}");
            assert_eq!(stdout(&output), "", "{command}");
            let said: Value = serde_json::from_slice(&output.stderr).unwrap();
            let expected = format!("--json is not supported by `realmgate {command}`");
            assert_eq!(said["error"], expected);
            continue;
        };
        // There is an administrator, so `init` fails; its JSON output is an error.
        let output = run(&gate, command, &args, &["--json"]);
        let text = stdout(&output);
        let printed = values(&text).unwrap_or_else(|error| panic!("{command}: {error}: {text}"));
        assert!(
            !printed.is_empty() || command == "init",
            "{command}: {}",
            stderr(&output)
        );
        // Log lines may precede an error; their format is configured.
        if !output.status.success() {
            let errors = stderr(&output);
            let error = values(errors.lines().last().unwrap()).unwrap();
            assert!(error[0]["error"].is_string(), "{command}: {errors}");
        }
    }
}

#[test]
fn no_command_prints_an_escape_code_without_a_terminal() {
    let (gate, callers) = scene();
    let escaped = |output: &Output| output.stdout.contains(&0x1b) || output.stderr.contains(&0x1b);
    for (command, args) in calls(&gate, &callers) {
        let args = args.unwrap_or_default();
        if command != "serve" && command != "demo" {
            let output = run(&gate, command, &args, &[]);
            assert!(
                !escaped(&output),
                "{command}: {}{}",
                stdout(&output),
                stderr(&output)
            );
        }
        let output = run(&gate, command, &[], &["--help"]);
        assert!(output.status.success() && !escaped(&output), "{command}");
        let output = run(&gate, command, &[], &["--no-such-option"]);
        assert!(
            output.status.code() == Some(2) && !escaped(&output),
            "{command}"
        );
    }
    let demo = realmgate(&["demo", "--once"]).output().unwrap();
    assert!(demo.status.success() && !escaped(&demo));
    assert!(!gate.log().contains('\u{1b}'));
}

/// The same commands are colored on a terminal, except with `NO_COLOR`.
#[test]
fn no_color_holds_on_a_terminal_too() {
    let folder = tempfile::tempdir().unwrap();
    let program = realmgate(&[]).get_program().to_string_lossy().into_owned();
    let on_terminal = |args: &str, variables: &[(&str, &str)]| {
        let typescript = folder.path().join("typescript");
        let mut command = std::process::Command::new("script");
        command
            .args(["-qec", &format!("'{program}' {args}")])
            .arg(&typescript)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("CI")
            .current_dir(folder.path())
            .stdin(std::process::Stdio::null())
            .envs(variables.iter().copied());
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("script: {error}; run scripts/setup test"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    fs::write(
        folder.path().join("r.toml"),
        "[gateway]\nlisten = \"127.0.0.1:1\"\n",
    )
    .unwrap();
    for args in [
        "explain GET /",
        "identity show nobody@nowhere",
        "serve --config r.toml --ready-file /nowhere/ready",
        "--help",
    ] {
        let coloured = on_terminal(args, &[]);
        assert!(coloured.contains('\u{1b}'), "{args}: {coloured}");
        let plain = on_terminal(args, &[("NO_COLOR", "1")]);
        assert!(
            !plain.is_empty() && !plain.contains('\u{1b}'),
            "{args}: {plain:?}"
        );
    }
}

#[test]
fn name_at_realm_does_wherever_name_and_realm_do() {
    let has = |command: &Command, long: &str| {
        let mut args = command.get_arguments();
        args.any(|arg| arg.get_long() == Some(long))
    };
    let is_named = |arg: &&Arg| {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().any(|name| name == "NAME@REALM")
    };
    let mut both = Vec::new();
    for (path, command) in leaves() {
        if has(&command, "name") && has(&command, "realm") {
            assert!(
                command.get_positionals().any(|arg| is_named(&arg)),
                "{path}"
            );
            both.push(path);
        }
    }
    // Each command accepts the form: an unknown name is not found, or is created.
    let (gate, callers) = scene();
    assert!(
        both.contains(&"client".to_owned()) && both.len() > 5,
        "{both:?}"
    );
    for (command, args) in calls(&gate, &callers) {
        if both.iter().any(|it| it == command) {
            let output = run(&gate, command, &args.unwrap_or_default(), &[]);
            assert_ne!(
                output.status.code(),
                Some(2),
                "{command}: {}",
                stderr(&output)
            );
        }
    }
}
