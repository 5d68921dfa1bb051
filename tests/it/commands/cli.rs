//! Commands, their exit codes and exact error messages.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::{
    Gate, Upstream, configuration, get, realmgate, routes, stderr, stdout, until,
};

fn run(folder: &Path, args: &[&str]) -> Output {
    let config = folder.join("realmgate.toml");
    if !config.exists() {
        fs::write(&config, configuration(folder, "")).unwrap();
    }
    realmgate(args)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

/// Creates the database in a directory, with an administrator.
fn begin(folder: &Path) {
    let output = run(folder, &["init"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Runs a command. Returns its exit code and standard error.
fn failure(folder: &Path, args: &[&str]) -> (i32, String) {
    let output = run(folder, args);
    (output.status.code().unwrap(), stderr(&output))
}

#[test]
fn tour_of_the_demonstration_ends_well() {
    let output = realmgate(&["demo", "--once"]).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    assert_eq!(stdout(&output).matches('✓').count(), 13);
    assert_eq!(stdout(&output).matches('✗').count(), 0);
    assert_eq!(stderr(&output), "");
}

#[test]
fn init_prints_text_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    fs::write(&config, configuration(folder.path(), "")).unwrap();
    let program = env!("CARGO_BIN_EXE_realmgate");
    let command = format!("{program} init --config {}", config.display());
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("otpauth://") && !text.contains('{'), "{text}");
}

#[test]
fn change_of_nothing_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path());
    let (code, message) = failure(folder.path(), &["identity", "set", "admin@ungleich-admin"]);
    assert_eq!(code, 2);
    assert!(message.contains("--comment"), "{message}");
}

#[test]
fn manual_pages_are_written_into_a_new_directory_with_the_variables() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man1");
    let output = realmgate(&["man"]).arg(&pages).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let page = fs::read_to_string(pages.join("realmgate.1")).unwrap();
    assert!(page.contains("PGPASSWORD"), "{page}");
}

#[test]
fn first_identity_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["init"]);
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["name"], "admin");
    assert_eq!(made["realm"], "ungleich-admin");
    assert_eq!(made["seed"].as_str().unwrap().len(), 32);
    assert_eq!(made.as_object().unwrap().len(), 3);
    let (code, message) = failure(folder.path(), &["init"]);
    assert_eq!(code, 1);
    assert_eq!(
        message,
        "error: the realm ungleich-admin already has an identity: admin@ungleich-admin (id 1)\n"
    );
}

#[test]
fn identity_is_created_listed_shown_rotated_disabled_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path());
    let who = ["--name", "svc", "--realm", "payments"];
    let identity = |command: &str| {
        let args = [&["--json", "identity", command][..], &who].concat();
        let output = run(folder.path(), &args);
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap(), value)
    };
    let (code, created) = identity("create");
    assert_eq!(code, 0);
    assert_eq!(created["seed_strength"], "good");
    let (code, shown) = identity("show");
    assert_eq!((code, &shown["seed"]), (0, &serde_json::Value::Null));
    assert_eq!(identity("create").0, 1);
    let (_, rotated) = identity("rotate");
    assert_ne!(rotated["seed"], created["seed"]);
    assert_eq!(identity("disable").1["state"], "disabled");
    assert_eq!(identity("enable").1["state"], "enabled");
    let listed = stdout(&run(folder.path(), &["identity", "list"]));
    assert!(listed.contains("svc@payments"), "{listed}");
    assert!(!listed.contains(rotated["seed"].as_str().unwrap()));
    assert_eq!(identity("delete").0, 0);
    for command in ["show", "rotate", "disable", "enable", "delete"] {
        assert_eq!(identity(command).0, 1, "{command}");
    }
}

#[test]
fn identity_is_named_by_name_and_realm_in_one_or_in_two_options() {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path());
    let ok = |args: &[&str]| {
        let output = run(folder.path(), &[&["identity"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output)
    };
    ok(&["create", "a@b@payments", "--comment", "x"]);
    let shown = ok(&["show", "--name", "a@b", "--realm", "payments"]);
    assert_eq!(ok(&["show", "a@b@payments"]), shown);
    ok(&["set", "a@b@payments", "--comment", "y"]);
    for command in ["rotate", "disable", "enable", "unthrottle", "delete"] {
        ok(&[command, "a@b@payments"]);
    }
    for args in [
        &["show"][..],
        &["show", "a"],
        &["show", "--name", "a"],
        &["show", "--realm", "r"],
        &["show", "a@r", "--name", "a"],
        &["show", "a@r", "--name", "a", "--realm", "r"],
        &["show", "@r"],
        &["show", "a@"],
    ] {
        let (code, said) = failure(folder.path(), &[&["identity"], args].concat());
        assert_eq!(code, 2, "{args:?}: {said}");
    }
}

#[test]
fn failures_are_shown_and_reported_when_they_are_cleared() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let caller = gate.register("billing", "payments");
    assert_eq!(get(gate.gateway, "/x", &caller.fields()).status, 200);
    let wrong = caller.fields_with(&caller.wrong_token());
    assert_eq!(get(gate.gateway, "/x", &wrong).status, 401);
    let reported = |command: &str| {
        let output = realmgate(&["identity", command, "billing@payments", "--config"])
            .arg(gate.config())
            .output();
        stdout(&output.unwrap())
    };
    until("the failure is stored", || {
        reported("show").ends_with("failures: 0; at 1 trusted address: 1\n")
    });
    let reported = reported("unthrottle");
    assert!(reported.ends_with("cleared 1 failure\n"), "{reported}");
}

#[test]
fn old_seed_is_taken_from_standard_input_and_flagged_weak() {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path());
    let config = folder.path().join("realmgate.toml");
    let mut child = realmgate(&[
        "--json", "identity", "create", "--name", "old", "--realm", "r",
    ])
    .args(["--seed-file", "-", "--config"])
    .arg(config)
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let seed = b"PZKBPTHDGSLZBKIZ\n";
    child.stdin.take().unwrap().write_all(seed).unwrap();
    let output = child.wait_with_output().unwrap();
    let created: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(created["seed"], "PZKBPTHDGSLZBKIZ");
    assert_eq!(created["seed_strength"], "weak");
}

#[test]
fn seed_below_40_bits_is_rejected_and_below_80_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path());
    let file = folder.path().join("seed");
    let file = file.to_str().unwrap();
    for (seed, code, reported) in [
        (
            "AA",
            2,
            "the seed has only 8 bits; at least 40 are required",
        ),
        (
            "JBSWY3A",
            2,
            "the seed has only 32 bits; at least 40 are required",
        ),
        (
            "JBSWY3DP",
            0,
            "the seed has only 40 bits and can be computed from a few tokens",
        ),
        (
            "JBSWY3DPEHPK3PQ",
            0,
            "the seed has only 72 bits and can be computed from a few tokens",
        ),
        ("JBSWY3DPEHPK3PXP", 0, ""),
    ] {
        fs::write(file, seed).unwrap();
        let args = [
            "identity",
            "create",
            "--name",
            seed,
            "--realm",
            "r",
            "--seed-file",
            file,
        ];
        let (ended, message) = failure(folder.path(), &args);
        assert_eq!(ended, code, "{seed}: {message}");
        let without_log = message.lines().filter(|line| !line.contains("INFO"));
        let message: String = without_log.collect();
        assert!(
            message.contains(reported) && message.is_empty() == reported.is_empty(),
            "{message}"
        );
    }
}

#[test]
fn name_of_128_characters_is_taken_and_129_rejected() {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path());
    let create = |name: &str| {
        failure(
            folder.path(),
            &["identity", "create", "--name", name, "--realm", "r"],
        )
    };
    assert_eq!(create(&"é".repeat(128)).0, 0);
    let (code, message) = create(&"x".repeat(129));
    assert_eq!(code, 2);
    assert_eq!(
        message,
        "error: the name has 129 characters, at most 128 are allowed\n"
    );
}

#[test]
fn token_is_printed_alone_on_standard_output() {
    let seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let output = realmgate(&["token", "--seed", seed]).output().unwrap();
    assert_eq!(stdout(&output).trim().len(), 6);
    assert!(
        stderr(&output).starts_with("valid for "),
        "{}",
        stderr(&output)
    );
    let output = realmgate(&["token", "--seed", "not base32!"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        !stderr(&output).contains("not base32!"),
        "{}",
        stderr(&output)
    );
}

/// Creating prints JSON, and every command that needs a seed takes it as it is.
#[test]
fn json_of_an_identity_is_a_seed_with_its_parameters() {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path());
    let args = ["identity", "create", "a@r", "--digits", "8", "--json"];
    let made = run(folder.path(), &args);
    assert!(made.status.success(), "{}", stderr(&made));
    let path = folder.path().join("a.json");
    fs::write(&path, &made.stdout).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let seed = json["seed"].as_str().unwrap();
    let token = |args: &[&str]| {
        let mut command = realmgate(&["token"]);
        command.args(args).stdin(fs::File::open(&path).unwrap());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output).trim().to_owned()
    };
    let named = path.to_str().unwrap();
    let uri = json["uri"].as_str().unwrap();
    // Between two calls, a new step may begin.
    let is_same = || {
        let plain = token(&["--seed", seed, "--digits", "8"]);
        let others = [
            token(&["--seed-file", named]),
            token(&["--seed-file", "-"]),
            token(&["--seed", "-"]),
            token(&["--seed", uri]),
            token(&["--seed", &String::from_utf8_lossy(&made.stdout)]),
        ];
        assert_eq!(plain.len(), 8);
        others.iter().all(|other| *other == plain)
    };
    assert!(is_same() || is_same());
    assert_eq!(token(&["--seed-file", named, "--digits", "6"]).len(), 6);
    let from_environment = realmgate(&["token"])
        .env("REALMGATE_SEED_FILE", named)
        .output()
        .unwrap();
    assert_eq!(stdout(&from_environment).trim().len(), 8);
    // The same as a new seed.
    let args = ["identity", "create", "b@r", "--seed-file", named, "--json"];
    let other = run(folder.path(), &args);
    let other: serde_json::Value = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!(other["seed"], json["seed"]);
}

#[test]
fn what_is_no_seed_is_rejected_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list.json");
    fs::write(&file, "[{}]").unwrap();
    fs::write(
        folder.path().join("seed"),
        "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
    )
    .unwrap();
    let empty = folder.path().join("empty.json");
    fs::write(&empty, "{\"name\":\"a\"}").unwrap();
    let said = |args: &[&str]| {
        let mut command = realmgate(&["token"]);
        let output = command
            .args(args)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        stderr(&output)
    };
    for name in ["seed.txt", "./seed"] {
        assert!(
            said(&["--seed", name]).contains("use --seed-file"),
            "{name}"
        );
    }
    let json = said(&["--seed-file", empty.to_str().unwrap()]);
    assert!(
        json.contains("empty.json") && json.contains("`realmgate identity create --json`"),
        "{json}"
    );
    assert!(said(&["--seed-file", file.to_str().unwrap()]).contains("not base32"));
    // A seed in place of the name of a file is not printed.
    let seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let printed = format!("{{\"seed\":\"{seed}\"}}");
    for given in [
        seed,
        "GEZDGNBVGY3TQ0J8",
        printed.as_str(),
        "{\"seed\":\"GEZDGNBVGY3TQOJQ",
    ] {
        let text = said(&["--seed-file", given]);
        assert!(
            text.contains("looks like a seed") && !text.contains("GEZDG"),
            "{text}"
        );
    }
    let missing = said(&["--seed-file", "missing.txt"]);
    assert!(missing.contains("missing.txt"), "{missing}");
    assert!(said(&[]).contains("--seed-file or --seed is missing"));
    let seeds = ["--seed", "A", "--seed-file", "seed"];
    assert!(said(&seeds).contains("cannot be used with"));
}

#[test]
fn configuration_file_without_its_option_is_rejected_with_the_option() {
    for command in ["check", "serve"] {
        let output = realmgate(&[command, "realmgate.toml"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.contains("--config realmgate.toml"), "{said}");
    }
}

#[test]
fn check_prints_the_meaning_of_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["check"]);
    assert!(output.status.success());
    assert!(stdout(&output).ends_with("ok\n"), "{}", stdout(&output));
}

#[test]
fn check_fails_on_warnings_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    let trusting = |network: &str| {
        let limits = "[limits]\nconnections = 100\nconnections_per_address = 10\nrequests = 100\n\
                      requests_per_address = 10\n[server]\nupstream_idle_connections = 10\n";
        let text = format!("{limits}[service]\ntrusted_proxies = [\"{network}\"]\n");
        fs::write(&config, text).unwrap();
    };
    trusting("0.0.0.0/0");
    assert_eq!(failure(folder.path(), &["check"]).0, 0);
    let output = run(folder.path(), &["check", "--json", "--strict"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        said["warnings"][0].as_str().unwrap().contains("0.0.0.0/0"),
        "{said}"
    );
    trusting("10.0.0.0/8");
    assert_eq!(
        failure(folder.path(), &["check", "--strict"]),
        (0, String::new())
    );
}

#[test]
fn check_cuts_long_lists_off_and_says_where_a_warning_is() {
    let folder = tempfile::tempdir().unwrap();
    let members: String = (0..10_000)
        .map(|at| format!("{{ realm = 'ops', name = 'n{at:05}' }},"))
        .collect();
    let text = format!(
        "[group.many]\nmembers = [{members}]\n[[route]]\nname = 'a'\nallow = [{{ group = 'many' }}]\nupstream = 'web'\n\
         [[route]]\nname = 'b'\npath = '/b'\nallow = [{{ group = 'many' }}]\nupstream = 'web'\n\
         [upstream.web]\npeers = ['127.0.0.1:9']\n"
    );
    fs::write(folder.path().join("realmgate.toml"), text).unwrap();
    let output = run(folder.path(), &["check"]);
    let said = stdout(&output);
    assert!(said.contains("n00019@ops and 9980 more\n"), "{said}");
    assert!(said.len() < 4000, "{}", said.len());
    let warning = "realmgate.toml:7: route \"b\" never matches";
    assert!(stderr(&output).contains(warning), "{}", stderr(&output));
}

#[test]
fn mistakes_in_a_configuration_are_named_exactly() {
    let cases = [
        (
            "[totp]\nwindwo = 1\n",
            ":2: totp.windwo: unknown key (did you mean window?), expected one of window, algorithm, digits, period, issuer",
        ),
        (
            "[totp]\nwindow = 11\n",
            ":2: totp.window = 11: expected 0 to 10",
        ),
        (
            "[[route]]\nname = \"billing\"\nallow = \"authenticated\"\nupstream = \"bil\"\n[upstream.billing]\npeers = [\"127.0.0.1:9\"]\n",
            ":4: route[0].upstream = \"bil\": expected a defined upstream (defined: billing)",
        ),
    ];
    for (text, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("realmgate.toml");
        fs::write(&path, text).unwrap();
        for command in ["check", "serve"] {
            let (code, message) = failure(folder.path(), &[command]);
            assert_eq!(code, 2);
            assert_eq!(message, format!("error: {}{expected}\n", path.display()));
        }
    }
}

#[test]
fn unreadable_configuration_is_named() {
    let output = realmgate(&["serve", "--config", "/nowhere/realmgate.toml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(message.contains("/nowhere/realmgate.toml"), "{message}");
    assert!(message.contains("No such file or directory"), "{message}");
}

#[test]
fn port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = {
        let config = folder.path().join("realmgate.toml");
        fs::write(&config, configuration(folder.path(), "")).unwrap();
        realmgate(&["serve", "--config"])
            .arg(config)
            .env("REALMGATE_SERVICE_LISTEN", address.to_string())
            .output()
            .unwrap()
    };
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        stderr(&output),
        format!(
            "error: service.listen = \"{address}\": cannot listen there: Address already in use (os error 98)\n"
        )
    );
}

#[test]
fn database_that_is_not_sqlite_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("realmgate.db");
    fs::write(&database, "notes\n".repeat(1000)).unwrap();
    let (code, message) = failure(folder.path(), &["serve"]);
    assert_eq!(code, 2);
    assert_eq!(
        message,
        format!(
            "error: database {}: is not an SQLite database\n",
            database.display()
        )
    );
}

#[test]
fn key_that_does_not_fit_is_named() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&one, &other] {
        assert!(run(folder.path(), &["init"]).status.success());
    }
    let key = one.path().join("realmgate.key");
    fs::copy(other.path().join("realmgate.key"), &key).unwrap();
    let (code, message) = failure(one.path(), &["serve"]);
    assert_eq!(code, 2);
    let database = one.path().join("realmgate.db");
    let start = format!("error: key file {}: holds key ", key.display());
    assert!(message.starts_with(&start), "{message}");
    let middle = format!(
        ", but the seeds in database {} are encrypted with key ",
        database.display()
    );
    assert!(message.contains(&middle), "{message}");
}

#[test]
fn commands_of_a_running_store_do_not_disturb_it() {
    let gate = Gate::start("");
    gate.register("a", "r");
    let output = gate.run(&["identity", "list"]);
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed["name"], "a");
}
