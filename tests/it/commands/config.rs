//! Configurations as read by the binary.

use std::fs;

use serde_json::Value;

use crate::harness::certificate::Ca;
use crate::harness::{Gate, realmgate, stderr, stdout, until};

/// Limits that fit any machine, so that there are no warnings.
const LIMITS: &str = "[limits]\nconnections = 100\nconnections_per_address = 10\nrequests = 100\n\
                      requests_per_address = 10\n[server]\nupstream_idle_connections = 10\n";

#[test]
fn every_mistake_is_a_line_for_people_and_one_of_a_list_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("realmgate.toml");
    fs::write(&file, "[totp]\nwindow = 11\n[cache]\nttl = 300\n").unwrap();
    let place = file.display();
    let expected = [
        format!("{place}:2: totp.window = 11: expected 0 to 10"),
        format!("{place}:4: cache.ttl = 300: expected a duration with a unit such as \"5m\""),
    ];
    for command in ["check", "serve"] {
        let output = realmgate(&[command, "--config"])
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let lines: Vec<_> = expected.iter().map(|it| format!("error: {it}\n")).collect();
        assert_eq!(stderr(&output), lines.concat());
    }
    let output = realmgate(&["check", "--json", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(said["errors"], serde_json::json!(expected));
}

#[test]
fn mistakes_of_a_reload_are_one_line_of_the_log() {
    let gate = Gate::start("");
    let text = fs::read_to_string(gate.config()).unwrap();
    fs::write(
        gate.config(),
        format!("{text}[totp]\nwindow = 11\ndigits = 5\n"),
    )
    .unwrap();
    gate.signal("HUP");
    until("the rejection", || gate.log().contains("not reloaded"));
    let log = gate.log();
    let line = log
        .lines()
        .find(|line| line.contains("not reloaded"))
        .unwrap();
    assert!(
        line.contains("totp.window") && line.contains("totp.digits"),
        "{line}"
    );
}

#[test]
fn expired_certificate_is_warned_of_by_check_at_the_start_and_at_a_reload() {
    let ca = Ca::new();
    let (cert, key) = ca.issue_for("old", "/CN=a", "DNS:a.example", "-1");
    let expired = format!("[[certificate]]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
    let warning = format!("certificate[0].cert = {cert:?}: the certificate expired on ");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("realmgate.toml");
    fs::write(&file, format!("{LIMITS}{expired}")).unwrap();
    let check = |more: &[&str]| {
        let mut command = realmgate(&["check", "--config"]);
        command.arg(&file).args(more).output().unwrap()
    };
    let output = check(&[]);
    assert!(output.status.success());
    assert!(stderr(&output).contains(&warning), "{}", stderr(&output));
    assert_eq!(check(&["--strict"]).status.code(), Some(2));

    // The format of the log determines whether quotes are escaped.
    let logged = |gate: &Gate| gate.log().matches("the certificate expired on ").count();
    let gate = Gate::start(&expired);
    assert_eq!(logged(&gate), 1, "{}", gate.log());
    gate.signal("HUP");
    until("the reload", || gate.log().contains("reloaded"));
    assert_eq!(logged(&gate), 2, "{}", gate.log());

    let (cert, key) = ca.issue("new", "/CN=a", "DNS:a.example");
    let good = format!("[[certificate]]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
    fs::write(&file, format!("{LIMITS}{good}")).unwrap();
    let output = check(&["--strict"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn strict_check_does_not_depend_on_the_open_files_of_the_machine() {
    let program = realmgate(&[]).get_program().to_owned();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 256; exec \"$0\" check --strict"])
        .arg(program)
        .current_dir(tempfile::tempdir().unwrap().path())
        .env_remove("REALMGATE_CONFIG")
        .output()
        .unwrap();
    let said = stderr(&output);
    assert!(
        said.contains("this process may open 256 files, so limits will be lowered"),
        "{said}"
    );
    assert!(output.status.success(), "{said}");
}

#[test]
fn check_prints_the_scheme_that_a_listener_speaks() {
    let ca = Ca::new();
    let (cert, key) = ca.issue("server", "/CN=a", "DNS:a.example");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("realmgate.toml");
    let certificate = format!("[[certificate]]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
    for (section, service, gateway) in [
        ("[service]\ntls = true\n", "https", "http"),
        ("[gateway]\ntls = true\n", "http", "https"),
    ] {
        fs::write(&file, format!("{section}{certificate}")).unwrap();
        let check = |more: &[&str]| {
            let mut command = realmgate(&["check", "--config"]);
            stdout(&command.arg(&file).args(more).output().unwrap())
        };
        let text = check(&[]);
        assert!(
            text.contains(&format!("\nservice:  {service}://127.0.0.1:8081 ")),
            "{text}"
        );
        assert!(
            text.contains(&format!("\ngateway:  {gateway}://127.0.0.1:8080 ")),
            "{text}"
        );
        assert!(
            text.contains("\nmetrics:  http://127.0.0.1:8084 "),
            "{text}"
        );
        let said: Value = serde_json::from_str(&check(&["--json"])).unwrap();
        assert_eq!(said["service_tls"], service == "https");
        assert_eq!(said["gateway_tls"], gateway == "https");
    }
}

#[test]
fn service_of_kubernetes_beside_realmgate_does_not_stop_the_start() {
    let environment = [
        ("REALMGATE_GRPC_SERVICE_HOST", "10.43.0.7"),
        ("REALMGATE_GRPC_SERVICE_PORT", "8082"),
        ("REALMGATE_GRPC_PORT", "tcp://10.43.0.7:8082"),
        ("REALMGATE_GRPC_PORT_8082_TCP", "tcp://10.43.0.7:8082"),
        ("REALMGATE_GRPC_PORT_8082_TCP_ADDR", "10.43.0.7"),
        ("REALMGATE_LOG_FILTER", "debug"),
    ];
    let gate = Gate::start_with(&environment, "");
    let log = gate.log();
    let ignored = log
        .matches("ignored: Kubernetes describes a service by it")
        .count();
    assert_eq!(ignored, environment.len() - 1, "{log}");
}
