//! `realmgate doctor` in front of the real front proxies: with the files of `deploy/` it finds nothing, and with one
//! line of them changed, exactly the fault of that line.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Program, Rig};
use crate::harness::certificate::Ca;
use crate::harness::{Caller, Gate, NOWHERE, Upstream, realmgate, routes};

/// A run of the command with the seeds of two callers.
struct Doctor {
    seeds: TempDir,
    command: Command,
}

impl Doctor {
    fn new(url: &str, good: &Caller, other: &Caller) -> Self {
        let seeds = tempfile::tempdir().unwrap();
        let mut command = realmgate(&["doctor", url, "--json", "--public", "/public/x"]);
        for (option, caller) in [("--as", good), ("--other", other)] {
            let file = seeds.path().join(&caller.name);
            fs::write(&file, &caller.seed).unwrap();
            let seed = if option == "--as" {
                "--seed-file"
            } else {
                "--other-seed-file"
            };
            let who = format!("{}@{}", caller.name, caller.realm);
            command.args([option, &who, seed]).arg(&file);
        }
        Self { seeds, command }
    }

    fn with(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// Returns the exit code and the outcomes.
    fn run(mut self) -> (i32, Value) {
        let output = self.command.output().unwrap();
        drop(self.seeds);
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.code().unwrap(), report)
    }

    /// The same, and stops realmgate when the command asks for it.
    fn run_and_stop(mut self, gate: &Gate) -> (i32, Value) {
        let mut child = self
            .command
            .arg("--stop")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        asked_to_stop(&mut child);
        gate.signal("KILL");
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), report)
    }
}

/// Waits until the command asks to stop realmgate.
fn asked_to_stop(child: &mut Child) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("stop realmgate now"), "{line}");
    // Nobody reads the rest.
    std::thread::spawn(move || lines.for_each(drop));
}

/// Returns the names of the checks with a result.
fn checks(report: &Value, result: &str) -> Vec<String> {
    let all = report["checks"].as_array().unwrap().iter();
    let with = all.filter(|it| it["result"] == result);
    with.map(|it| it["check"].as_str().unwrap().to_owned())
        .collect()
}

fn of_rig(rig: &Rig) -> Doctor {
    let url = format!("http://{}/ops/x", rig.address());
    Doctor::new(&url, &rig.olga, &rig.billing)
}

/// Traefik cannot distinguish responses to authenticated requests: a comment in its file marks all as private.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that Rig::edited takes"
)]
fn private(text: String) -> String {
    text.replace("# customResponseHeaders", "customResponseHeaders")
}

fn finds_nothing(program: Program) {
    let rig = Rig::edited(program, private);
    let (code, report) = of_rig(&rig).run_and_stop(&rig.gate);
    assert_eq!(checks(&report, "found"), [""; 0], "{report:#}");
    assert_eq!(code, 0);
    // Nothing but what it was not told of.
    assert_eq!(
        checks(&report, "unknown"),
        ["trusted-proxies"],
        "{report:#}"
    );
    assert_eq!(checks(&report, "ok").len(), 17, "{report:#}");
}

fn finds(program: Program, edit: fn(String) -> String, expected: &str, change: &str) {
    let rig = Rig::edited(program, edit);
    let doctor = of_rig(&rig);
    let front = match program {
        Program::Nginx => "nginx",
        Program::Traefik => "traefik",
        Program::Caddy => "caddy",
        Program::Haproxy => "haproxy",
        Program::Envoy | Program::EnvoyHttp2 | Program::EnvoyGrpc => "envoy",
    };
    let doctor = doctor.with(&["--front", front]);
    let (code, report) = match expected {
        "stopped" => doctor.run_and_stop(&rig.gate),
        _ => doctor.run(),
    };
    assert_eq!(checks(&report, "found"), [expected], "{report:#}");
    assert_eq!(code, 1);
    let all = report["checks"].as_array().unwrap();
    let found = all.iter().find(|it| it["check"] == expected).unwrap();
    assert!(
        found["change"].as_str().unwrap().contains(change),
        "{found:#}"
    );
}

/// Defines a test for each front proxy with its file, and for each changed line.
macro_rules! doctor {
    (
        sound { $($sound:ident: $of:expr;)* }
        broken { $($broken:ident: $program:expr, $from:literal => $to:literal, $found:literal, $change:literal;)* }
    ) => {
        $(#[test] fn $sound() { finds_nothing($of); })*
        $(#[test] fn $broken() {
            finds($program, |text| private(text).replace($from, $to), $found, $change);
        })*
    };
}

doctor! {
    sound {
    nothing_is_found_behind_nginx: Program::Nginx;
    nothing_is_found_behind_traefik: Program::Traefik;
    nothing_is_found_behind_caddy: Program::Caddy;
    nothing_is_found_behind_haproxy: Program::Haproxy;
    nothing_is_found_behind_envoy: Program::Envoy;
    nothing_is_found_behind_envoy_with_grpc: Program::EnvoyGrpc;
    }
    broken {
    nginx_without_the_auth_request: Program::Nginx,
        "        auth_request /_realmgate;" => "", "no-credential", "auth_request /_realmgate;";
    nginx_that_forwards_authorization: Program::Nginx,
        "proxy_set_header Authorization \"\";" => "", "token", "proxy_set_header Authorization";
    nginx_that_forwards_headers_with_underscores: Program::Nginx,
        "underscores_in_headers off;" => "underscores_in_headers on;", "forged-headers", "underscores_in_headers off;";
    nginx_that_forwards_an_identity_header: Program::Nginx,
        "proxy_set_header Remote-User \"\";" => "", "forged-headers", "proxy_set_header NAME";
    nginx_that_forwards_a_method_override: Program::Nginx,
        "proxy_set_header X-HTTP-Method-Override \"\";" => "", "method-override", "X-HTTP-Method-Override";
    nginx_that_lets_caches_store: Program::Nginx,
        "add_header Cache-Control $realmgate_caching always;" => "", "caches", "add_header Cache-Control";
    nginx_that_does_not_describe_the_request: Program::Nginx,
        "proxy_set_header X-Original-Method $request_method;" => "", "good-credential", "realmgate's log";
    traefik_without_the_middleware: Program::Traefik,
        "middlewares: [realmgate, leave-out]" => "middlewares: [leave-out]", "no-credential", "middlewares: [realmgate";
    traefik_that_forwards_the_credential: Program::Traefik,
        "X-Forwarded-User, X-Auth-Token, Authorization]" => "X-Forwarded-User]", "token", "authResponseHeaders";
    traefik_that_forwards_an_identity_header: Program::Traefik,
        " Remote-User: \"\"" => " X-Nothing: \"\"", "forged-headers", "customRequestHeaders";
    traefik_that_lets_caches_store: Program::Traefik,
        "customResponseHeaders: {" => "# customResponseHeaders: {", "caches", "customResponseHeaders";
    caddy_that_asks_for_health: Program::Caddy,
        "uri /forward-auth/caddy?" => "uri /healthz?", "no-credential", "/forward-auth/caddy?";
    caddy_that_lets_caches_store: Program::Caddy,
        "+Cache-Control private" => "", "caches", "+Cache-Control private";
    haproxy_that_permits_without_a_response: Program::Haproxy,
        "http-request deny deny_status 503 unless { var(txn.realmgate) -m int 200 }" => "", "stopped", "deny_status 503";
    haproxy_that_forwards_an_identity_header: Program::Haproxy,
        "http-request del-header Remote-User" => "http-request del-header X-Nothing", "forged-headers", "del-header";
    envoy_that_permits_without_a_response: Program::Envoy,
        "failure_mode_allow: false" => "failure_mode_allow: true", "stopped", "failure_mode_allow: false";
    envoy_that_forwards_an_identity_header: Program::Envoy,
        "- remove: remote-user" => "- remove: x-nothing", "forged-headers", "request_mutations";
    envoy_with_grpc_that_permits_without_a_response: Program::EnvoyGrpc,
        "failure_mode_allow: false" => "failure_mode_allow: true", "stopped", "failure_mode_allow: false";
    envoy_with_grpc_that_forwards_an_identity_header: Program::EnvoyGrpc,
        "- remove: x-auth-user" => "- remove: x-nothing", "forged-headers", "request_mutations";
    }
}

#[test]
fn proxy_of_realmgate_is_sound_and_an_observed_route_is_found() {
    let app = Upstream::start();
    let gate = Gate::start(&routes(app.address));
    let (olga, billing) = (
        gate.register("olga", "ops"),
        gate.register("billing", "payments"),
    );
    let url = format!("http://{}/ops/x", gate.gateway);
    let run = || Doctor::new(&url, &olga, &billing).run();
    let (code, report) = run();
    assert_eq!((code, checks(&report, "found")), (0, vec![]), "{report:#}");
    let text = fs::read_to_string(gate.config()).unwrap();
    let observed = text.replace("name = \"ops\"", "name = \"ops\"\nmode = \"observe\"");
    fs::write(gate.config(), observed).unwrap();
    gate.signal("HUP");
    crate::harness::until("reloaded", || gate.log().contains("reloaded"));
    let (code, report) = run();
    assert_eq!(checks(&report, "found"), ["no-credential"], "{report:#}");
    assert_eq!(code, 1);
    assert!(
        report.to_string().contains("mode = \\\"observe\\\""),
        "{report:#}"
    );
}

#[test]
fn realmgate_that_is_not_stopped_is_no_finding() {
    let app = Upstream::start();
    let gate = Gate::start(&routes(app.address));
    let (olga, billing) = (
        gate.register("olga", "ops"),
        gate.register("billing", "payments"),
    );
    let url = format!("http://{}/ops/x", gate.gateway);
    let mut doctor = Doctor::new(&url, &olga, &billing).with(&["--stop"]);
    let child = doctor.command.stdin(Stdio::piped());
    let mut child = child
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    asked_to_stop(&mut child);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(checks(&report, "found"), [""; 0], "{report:#}");
    assert!(
        report.to_string().contains("realmgate still responds"),
        "{report:#}"
    );
}

#[test]
fn repeated_runs_do_not_take_a_throttled_caller_for_another_fault() {
    let app = Upstream::start();
    let gate = Gate::start(&routes(app.address));
    let (olga, billing) = (
        gate.register("olga", "ops"),
        gate.register("billing", "payments"),
    );
    let url = format!("http://{}/ops/x", gate.gateway);
    let mut reports = Vec::new();
    for _ in 0..8 {
        let (code, report) = Doctor::new(&url, &olga, &billing).run();
        let found = checks(&report, "found");
        if code == 1 {
            assert_eq!(found, ["good-credential"], "{report:#}");
            assert!(report.to_string().contains("unthrottle"), "{report:#}");
        } else {
            assert_eq!(checks(&report, "unknown"), ["trusted-proxies"]);
        }
        reports.push(code);
    }
    assert_eq!(reports.first(), Some(&0));
}

#[test]
fn one_time_tokens_leave_unknown_only_what_takes_several_of_them() {
    let app = Upstream::start();
    let gate = Gate::start(&format!(
        "[realm.ops]\nreuse = \"once\"\n{}",
        routes(app.address)
    ));
    let (olga, billing) = (
        gate.register("olga", "ops"),
        gate.register("billing", "payments"),
    );
    let url = format!("http://{}/ops/x", gate.gateway);
    let (code, report) = Doctor::new(&url, &olga, &billing).run();
    assert_eq!((code, checks(&report, "found")), (0, vec![]), "{report:#}");
    assert_eq!(
        checks(&report, "unknown"),
        ["forged-headers", "method-override", "trusted-proxies"],
        "{report:#}"
    );
}

/// The certificate of realmgate's proxy, and what the command finds.
#[test]
fn certificates_are_examined_as_callers_would() {
    let ca = Ca::new();
    let app = Upstream::start();
    let names = "DNS:localhost,IP:127.0.0.1";
    for (name, names, days, fault) in [
        ("good", names, "2", None),
        ("expired", names, "-1", Some("xpired")),
        (
            "other",
            "DNS:other.example",
            "2",
            Some("not valid for name"),
        ),
    ] {
        let (cert, key) = ca.issue_for(name, "/CN=app", names, days);
        let rest = format!("[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n");
        let tls = [("REALMGATE_GATEWAY_TLS", "true")];
        let gate = Gate::start_with(&tls, &format!("{}{rest}", routes(app.address)));
        let (olga, billing) = (
            gate.register("olga", "ops"),
            gate.register("billing", "payments"),
        );
        let url = format!("https://localhost:{}/ops/x", gate.gateway.port());
        let mut doctor = Doctor::new(&url, &olga, &billing);
        doctor.command.env("SSL_CERT_FILE", ca.file());
        let (code, report) = doctor.run();
        let found = checks(&report, "found");
        match fault {
            None => assert_eq!((code, found), (0, vec![]), "{report:#}"),
            Some(fault) => {
                assert_eq!((code, found), (1, vec!["tls".to_owned()]), "{report:#}");
                assert!(report.to_string().contains(fault), "{report:#}");
            }
        }
        // Of an authority that this machine does not know.
        let (code, report) = Doctor::new(&url, &olga, &billing).run();
        assert_eq!(
            (code, checks(&report, "found")),
            (1, vec!["tls".to_owned()]),
            "{report:#}"
        );
        // Without TLS where the port speaks it.
        let url = format!("http://localhost:{}/ops/x", gate.gateway.port());
        let (code, report) = Doctor::new(&url, &olga, &billing).run();
        assert_eq!(
            (code, checks(&report, "found")),
            (1, vec!["tls".to_owned()]),
            "{report:#}"
        );
        assert!(report.to_string().contains("use https://"), "{report:#}");
    }
}

#[test]
fn caller_that_is_not_meant_to_pass_is_found() {
    let app = Upstream::start();
    let gate = Gate::start(&routes(app.address));
    let (olga, billing) = (
        gate.register("olga", "ops"),
        gate.register("billing", "payments"),
    );
    let url = format!("http://{}/x", gate.gateway);
    let (_, report) = Doctor::new(&url, &olga, &billing).run();
    assert_eq!(checks(&report, "found"), ["other-realm"], "{report:#}");
}

#[test]
fn service_listener_that_believes_this_machine_is_found() {
    let app = Upstream::start();
    for (trusted, expected) in [
        ("[\"10.0.0.0/8\"]", vec![]),
        ("[\"127.0.0.0/8\"]", vec!["trusted-proxies"]),
    ] {
        let variables = [("REALMGATE_SERVICE_TRUSTED_PROXIES", trusted)];
        let gate = Gate::start_with(&variables, &routes(app.address));
        let (olga, billing) = (
            gate.register("olga", "ops"),
            gate.register("billing", "payments"),
        );
        let url = format!("http://{}/ops/x", gate.gateway);
        let service = format!("http://{}", gate.service);
        let (_, report) = Doctor::new(&url, &olga, &billing)
            .with(&["--service", &service])
            .run();
        assert_eq!(checks(&report, "found"), expected, "{report:#}");
    }
}

#[test]
fn server_that_does_not_respond_and_wrong_options_have_their_exit_codes() {
    let caller = Caller {
        name: "a".into(),
        realm: "b".into(),
        seed: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP".into(),
    };
    let code = |url: &str| {
        let mut doctor = Doctor::new(url, &caller, &caller);
        doctor.command.output().unwrap().status.code()
    };
    assert_eq!(code(&format!("http://{NOWHERE}/")), Some(3));
    assert_eq!(code("ftp://app.example/"), Some(2));
    assert_eq!(code("/x"), Some(2));
    let missing = realmgate(&[
        "doctor",
        "http://127.0.0.1:1/",
        "--as",
        "a@b",
        "--seed-file",
        "/nonexistent",
    ])
    .output()
    .unwrap();
    assert_eq!(missing.status.code(), Some(2));
}
