//! `realmgate policy test` and `realmgate policy diff`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::harness::{Gate, realmgate, stderr, stdout};

const ROUTES: &str = r#"
[networks]
office = ["192.0.2.0/24"]
[group.callers]
members = [{ realm = "payments" }, { realm = "ops", name = "batch-*" }]
[[route]]
name = "health"
path = "=/healthz"
allow = "anyone"
upstream = "app"
[[route]]
name = "office"
path = "/office"
from = ["office"]
allow = "anyone"
upstream = "app"
[[route]]
name = "api"
host = ["api.example.org", "*.api.example.org"]
methods = ["GET"]
allow = [{ group = "callers" }]
except = [{ realm = "ops", name = "batch-7" }]
upstream = "app"
[upstream.app]
peers = ["127.0.0.1:9000"]
"#;

/// Writes a file into a folder and returns its path.
fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn test(routes: &str, cases: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let config = file(folder.path(), "realmgate.toml", routes);
    let cases = file(folder.path(), "cases.toml", cases);
    realmgate(&["policy", "test"])
        .arg(cases)
        .arg("--config")
        .arg(config)
        .args(more)
        .output()
        .unwrap()
}

const CASES: &str = r#"
[[case]]
request = "GET https://api.example.org/x"
as = "shop@payments"
expect = "permit"
route = "api"

[[case]]
request = "GET https://eu.api.example.org/x"
as = "batch-1@ops"
expect = "permit"

[[case]]
request = "GET https://api.example.org/x"
as = "batch-7@ops"
expect = "not_allowed"

[[case]]
request = "GET https://api.example.org/x"
expect = "no_credential"

[[case]]
request = "POST https://api.example.org/x"
as = "shop@payments"
expect = "no_route"

[[case]]
request = "GET https://other.example.org/healthz/"
as = "nobody"
expect = "ambiguous_path"

[[case]]
request = "GET /office"
from = "192.0.2.7"
expect = "permit"
route = "office"

[[case]]
request = "GET /office"
expect = "no_route"
"#;

#[test]
fn cases_that_hold_are_counted() {
    let output = test(ROUTES, CASES, &[]);
    assert!(
        output.status.success(),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    assert_eq!(stdout(&output), "8 cases hold\n");
}

#[test]
fn case_that_does_not_hold_says_what_happened_instead() {
    let wrong = r#"
[[case]]
request = "GET https://eu.api.example.org/x"
as = "batch-1@dev"
expect = "permit"
[[case]]
request = "GET /office"
from = "192.0.2.7"
expect = "permit"
route = "health"
[[case]]
request = "GET /office"
expect = "permit"
[[case]]
request = "GET /office"
from = "127.0.0.1"
expect = "permit"
[[case]]
request = "GET /healthz/"
expect = "permit"
[[case]]
request = "GET /healthz"
expect = "deny"
"#;
    let output = test(ROUTES, wrong, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("6 of 6 cases do not hold"),
        "{}",
        stderr(&output)
    );
    let text = stdout(&output);
    let lines = text.lines();
    let lines = lines.map(|line| line.split_once("cases.toml:").unwrap().1);
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "2: GET https://eu.api.example.org/x as batch-1@dev: expected permit, got not_allowed by route \"api\", which \
             allows batch-*@ops, realm payments except batch-7@ops",
            "6: GET /office as nobody from 192.0.2.7: expected permit by route \"health\", got permit by route \"office\"",
            "11: GET /office as nobody: expected permit, got no_route (no route matches the request); route \"office\" did \
             not match, because the case has no `from`",
            "14: GET /office as nobody from 127.0.0.1: expected permit, got no_route (no route matches the request); route \
             \"office\" did not match, because 127.0.0.1 is the address of a front proxy or load balancer",
            "18: GET /healthz/ as nobody: expected permit, got ambiguous_path (the path is ambiguous: servers that read it \
             differently match different routes)",
            "21: GET /healthz as nobody: expected deny, got permit by route \"health\"",
        ]
    );
    let output = test(ROUTES, wrong, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["cases"], 6);
    assert_eq!(report["failed"][0]["line"], 2);
    assert_eq!(report["failed"][1]["route"], "office");
}

#[test]
fn route_that_only_observes_permits() {
    let routes = "[[route]]\nname = 'a'\nmode = 'observe'\nallow = [{ realm = 'ops' }]\nupstream = 'app'\n\
                  [upstream.app]\npeers = ['127.0.0.1:9000']\n";
    let cases = "[[case]]\nrequest = 'GET /'\nexpect = 'no_credential'\n";
    let output = test(routes, cases, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stdout(&output)
            .ends_with("got permit by route \"a\", which only observes (no_credential)\n"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn reasons_that_a_case_may_expect_are_documented() {
    let output = test(ROUTES, "[[case]]\nrequest = 'GET /'\nexpect = 'x'", &[]);
    let text = stderr(&output);
    let reasons = text.split_once("a reason (").unwrap().1;
    let reasons = reasons.split_once(')').unwrap().0;
    let page = include_str!("../../../docs/reasons.md");
    for reason in reasons.split(", ") {
        assert!(page.contains(&format!("| `{reason}` |")), "{reason}");
    }
    assert!(reasons.contains("not_allowed"));
}

#[test]
fn cases_of_every_front_proxy_hold_for_the_example_policy() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for front in [
        "nginx",
        "traefik",
        "caddy",
        "haproxy",
        "envoy",
        "kubernetes",
    ] {
        let output = realmgate(&["policy", "test"])
            .arg(deploy.join(front).join("policy.toml"))
            .arg("--config")
            .arg(deploy.join("policy/realmgate.toml"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{front}: {}{}",
            stdout(&output),
            stderr(&output)
        );
    }
    let output = realmgate(&["check", "--config"])
        .arg(deploy.join("policy/realmgate.toml"))
        .output()
        .unwrap();
    assert!(!stderr(&output).contains("route"), "{}", stderr(&output));
}

#[test]
fn broken_file_of_cases_is_exit_code_2() {
    for (routes, cases, expected) in [
        (
            ROUTES,
            "[[case]]\nrequest = 'GET'\nexpect = 'permit'",
            "cases.toml:1: request = \"GET\"",
        ),
        (ROUTES, "case = 1", "cases.toml:1: "),
        (
            ROUTES,
            "\n[[case]]\nrequest = 'GET /'\nas = 'shop'\nexpect = 'permit'",
            "cases.toml:2: as: expected NAME@REALM",
        ),
        (
            "[gateway]\nlisten = 'off'",
            "[[case]]\nrequest = 'GET /'\ndoor = 'proxy'\nexpect = 'permit'",
            "cases.toml:1: door = \"proxy\": the proxy is off",
        ),
        ("[[route]]\nname = 3", CASES, "realmgate.toml:2"),
    ] {
        let output = test(routes, cases, &[]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn cases_with_a_database_consider_identities() {
    let gate = Gate::start(&ROUTES.replace("\n[networks]", "[networks]"));
    gate.register("shop", "payments");
    let folder = tempfile::tempdir().unwrap();
    let cases = file(
        folder.path(),
        "cases.toml",
        "[[case]]\nrequest = 'GET https://api.example.org/x'\nas = 'shop@payments'\nexpect = 'permit'\n\
         [[case]]\nrequest = 'GET https://api.example.org/x'\nas = 'ghost@payments'\nexpect = 'permit'\n",
    );
    let cases = cases.to_str().unwrap();
    assert_eq!(gate.run(&["policy", "test", cases]).status.code(), Some(0));
    let output = gate.run(&["policy", "test", cases, "--connect"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["failed"].as_array().unwrap().len(), 1);
    assert_eq!(report["failed"][0]["as"], "ghost@payments");
}

fn diff(old: &str, new: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let old = file(folder.path(), "old/realmgate.toml", old);
    file(folder.path(), "new/realmgate.toml", new);
    realmgate(&["policy", "diff"])
        .arg(old)
        .arg(folder.path().join("new"))
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn change_without_effect_is_exit_code_0() {
    let moved = ROUTES.replace("[upstream.app]", "[upstream.web]");
    let moved = moved.replace("upstream = \"app\"", "upstream = \"web\"");
    for new in [ROUTES, &moved] {
        let output = diff(ROUTES, new, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stdout(&output), "no difference in effect\n");
        let output = diff(ROUTES, new, &["--json"]);
        let none = "{\"opens\":[],\"closes\":[],\"changes\":[],\"omitted\":{\"opens\":0,\"closes\":0,\"changes\":0}}\n";
        assert_eq!(stdout(&output), none);
    }
}

#[test]
fn diff_says_what_a_change_opens_and_closes() {
    let new = ROUTES
        .replace("methods = [\"GET\"]\n", "")
        .replace("name = \"batch-7\"", "name = \"batch-*\"");
    let output = diff(ROUTES, &new, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "opens / except =/healthz, /office on *.api.example.org, api.example.org to realm payments with methods other \
             than GET, HEAD: before denied, now route \"api\" for batch-*@ops, realm payments except batch-*@ops",
            "opens /office on *.api.example.org, api.example.org to realm payments with methods other than GET, HEAD from \
             outside 192.0.2.0/24: before denied, now route \"api\" for batch-*@ops, realm payments except batch-*@ops",
        ]
    );
    let closed = "closes / except =/healthz, /office on *.api.example.org, api.example.org for batch-*@ops except \
                  batch-7@ops with GET, HEAD: ";
    assert!(lines[2].starts_with(closed), "{text}");
    assert!(
        stderr(&output).contains("the change opens 2, closes 2 and changes 0"),
        "{}",
        stderr(&output)
    );
    let output = diff(ROUTES, &new, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["opens"][0]["sentence"], lines[0]);
    assert_eq!(report["opens"][0]["who"][0], "realm payments");
    assert_eq!(report["closes"][0]["methods"][0], "GET");
}

#[test]
fn diff_says_what_goes_elsewhere() {
    let new = ROUTES
        .replace("127.0.0.1:9000", "127.0.0.1:9001")
        .replace("name = \"health\"", "name = \"health\"\nerrors = \"json\"");
    let output = diff(ROUTES, &new, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    let servers = "upstream app (127.0.0.1:9000), now app (127.0.0.1:9001)";
    let health = format!(
        "changes =/healthz on any host: route \"health\": {servers}; errors text, now json"
    );
    assert!(text.lines().any(|line| line == health), "{text}");
    assert!(
        text.lines().all(|line| line.starts_with("changes ")),
        "{text}"
    );
    assert!(
        stderr(&output).contains("the change opens 0, closes 0 and changes 7"),
        "{}{text}",
        stderr(&output)
    );
    let output = diff(ROUTES, &new, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let items = report["changes"].as_array().unwrap();
    let health = items.iter().find(|it| it["paths"][0] == "=/healthz");
    assert_eq!(health.unwrap()["effects"][1], "errors text, now json");
}

#[test]
fn output_of_diff_is_limited_to_the_most_important_sentences() {
    let old: String = (0..30)
        .map(|at| {
            format!("[[route]]\nname = 'r{at}'\npath = '/r{at}'\nallow = [{{ realm = 'ops' }}]\nupstream = 'app'\n")
        })
        .collect();
    let old = old + "[upstream.app]\npeers = ['127.0.0.1:9000']\n";
    let new = old.replace("{ realm = 'ops' }", "{ realm = 'dev', name = 'a' }");
    let new = new.replacen("[{ realm = 'dev', name = 'a' }]", "'anyone'", 1);
    let output = diff(&old, &new, &["--limit", "2"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("opens /r0 on any host to anyone: "),
        "{text}"
    );
    assert!(
        lines[1].starts_with("opens ") && lines[2].starts_with("closes "),
        "{text}"
    );
    let omitted = lines.last().unwrap();
    assert!(
        omitted.starts_with("and less important ones: opens "),
        "{text}"
    );
    let output = diff(&old, &new, &["--limit", "2", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["opens"].as_array().unwrap().len(), 2);
    assert!(report["omitted"]["opens"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn configuration_that_is_broken_is_exit_code_2_of_diff() {
    let output = diff(ROUTES, "[[route]]\nname = 3", &[]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("realmgate.toml:2"));
    let output = diff("x = 1", ROUTES, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn included_files_are_compared_too() {
    let main = "include = ['routes/*.toml']\n[upstream.app]\npeers = ['127.0.0.1:9000']\n";
    let route = "[[route]]\nname = 'a'\nupstream = 'app'\nallow = ";
    let folder = tempfile::tempdir().unwrap();
    for (side, allow) in [("old", "'authenticated'"), ("new", "'anyone'")] {
        file(folder.path(), &format!("{side}/realmgate.toml"), main);
        let routes = format!("{route}{allow}\n");
        file(folder.path(), &format!("{side}/routes/a.toml"), &routes);
    }
    let output = realmgate(&["policy", "diff"])
        .args([folder.path().join("old"), folder.path().join("new")])
        .output()
        .unwrap();
    assert_eq!(
        stdout(&output),
        "opens / on any host to anyone: before route \"a\" for every authenticated principal, now route \"a\" for \
         anyone\n"
    );
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}
