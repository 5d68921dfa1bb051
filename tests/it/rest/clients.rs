//! Real clients.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{Caller, Gate, Upstream, field, routes, stdout};

/// Runs a program that the test setup installs. Fails with a hint if it is missing.
fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; run scripts/setup test"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    stdout(&output)
}

fn curl(args: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--max-time",
        "20",
        "--write-out",
        "\n%{http_code}",
    ]);
    output(command.args(args))
}

/// Returns the token that oathtool computes.
fn oathtool(caller: &Caller) -> String {
    let mut command = Command::new("oathtool");
    let token = output(command.args(["--totp", "--base32", &caller.seed]));
    token.trim().to_owned()
}

fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/python")
}

/// Returns the token that pyotp computes.
fn pyotp(caller: &Caller) -> String {
    let script = "import pyotp, sys; print(pyotp.TOTP(sys.argv[1]).now())";
    let mut command = Command::new(python());
    output(command.args(["-c", script, &caller.seed]))
        .trim()
        .to_owned()
}

#[test]
fn curl_with_tokens_of_oathtool_and_pyotp_gets_through_all_doors() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let caller = gate.register("billing", "payments");
    let verifier = gate.register("auth", "ungleich-auth");
    for token in [oathtool, pyotp] {
        let user = format!("billing@payments:{}", token(&caller));
        let url = format!("http://{}/api", gate.gateway);
        assert!(curl(&["-u", &user, &url]).ends_with("\n200"));
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(field(&seen, "X-Forwarded-User"), Some("billing@payments"));
        assert_eq!(field(&seen, "Authorization"), None);

        let header = format!("X-Auth-Token: {}", token(&caller));
        let url = format!("http://{}/forward-auth", gate.service);
        let name = ["-H", "X-Auth-Name: billing", "-H", "X-Auth-Realm: payments"];
        let reply = curl(&[&name[..], &["-H", &header, &url]].concat());
        assert!(reply.ends_with("\n200"), "{reply}");

        let form = format!(
            "auth_name=auth&auth_realm=ungleich-auth&auth_token={}&name=billing&realm=payments&token={}",
            token(&verifier),
            token(&caller)
        );
        let url = format!("http://{}/ungleichotp/verify/", gate.service);
        assert_eq!(curl(&["-d", &form, &url]), "{\"status\":\"OK\"}\n200");
    }
}

#[test]
fn expect_100_continue_is_answered_at_once() {
    let gate = Gate::start("");
    let body = format!("name={}", "x".repeat(3000));
    let url = format!("http://{}/ungleichotp/", gate.service);
    let args = [
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        "1000",
        "-d",
        &body,
        &url,
    ];
    // curl gives up before the wait for the response 100 ends.
    assert!(curl(&args).ends_with("\n403"));
}

#[test]
fn printed_commands_of_the_tour_work() {
    // If the test ends early, the directory of the demo goes with this one.
    let folder = tempfile::tempdir().unwrap();
    let mut demo = crate::harness::realmgate(&["demo"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    let reader = std::io::BufReader::new(demo.stdout.take().unwrap());
    for line in std::io::BufRead::lines(reader) {
        let line = line.unwrap();
        lines.push(line.clone());
        // The last of the live commands lists the identities.
        if line.starts_with("curl ") && line.ends_with("/ungleichotp/") {
            break;
        }
    }
    let shown = lines
        .iter()
        .filter_map(|line| line.trim().strip_prefix("$ "));
    let mut replies = lines
        .iter()
        .filter_map(|line| line.trim().strip_prefix("✓ ")?.split(' ').next());
    let mut count = 0;
    for command in shown {
        let expected = replies.next().unwrap();
        let answer = output(Command::new("sh").args(["-c", &format!("{command} --silent")]));
        let status = answer.split(' ').nth(1).unwrap();
        assert_eq!(status, expected, "{command}");
        count += 1;
    }
    for command in lines.iter().filter(|line| line.starts_with("curl ")) {
        let answer =
            output(Command::new("sh").args(["-c", &format!("{command} --silent --fail -i")]));
        assert!(answer.contains(" 200 OK"), "{command}: {answer}");
        count += 1;
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    output(Command::new("kill").args(["-TERM", &demo.id().to_string()]));
    demo.wait().unwrap();
    // The demo deletes its database and its key.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(count, 17);
}
