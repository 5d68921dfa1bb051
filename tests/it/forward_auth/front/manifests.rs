//! Files in `deploy/` that no test can run are validated against their schemas.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::program::Program;
use crate::harness::{
    Gate, configuration_with, get, on_server, postgres, realmgate, stderr, stdout,
};

#[test]
fn compose_file_and_kubernetes_manifests_fit_their_schemas_and_their_programs() {
    let read = checked();
    let folder = tempfile::tempdir().unwrap();
    // The Secrets are mounted there.
    let here = |text: &str| {
        let folder = folder.path().to_str().unwrap();
        let text = text.replace("/etc/realmgate-keys", folder);
        text.replace("/run/secrets", folder)
    };
    for secret in ["pgpassword", "realmgate.key"] {
        let file = folder.path().join(secret);
        fs::write(&file, "secret").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    }
    let config = folder.path().join("realmgate.toml");
    let in_kubernetes = |text: &Value| {
        fs::write(&config, here(text.as_str().unwrap())).unwrap();
        realmgate(&["check", "--config"]).arg(&config).output()
    };
    let in_compose = |environment: &Value| {
        let environment = environment.as_object().unwrap().iter();
        realmgate(&["check"])
            .envs(environment.map(|(name, value)| (name, here(value.as_str().unwrap()))))
            .current_dir(folder.path())
            .output()
    };
    let configs = read["configs"].as_array().unwrap();
    let environments = read["environments"].as_array().unwrap();
    // One process, and three nodes; in Kubernetes, the nodes have one configuration, with two overlays.
    assert_eq!((configs.len(), environments.len()), (4, 4));
    let outputs = environments.iter().map(in_compose);
    for output in configs.iter().map(in_kubernetes).chain(outputs) {
        let output = output.unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(
            stdout(&output).contains("\ngateway:  off\n"),
            "{}",
            stdout(&output)
        );
    }
    // Traefik rejects unknown keys: with one, there is no router, and a 404.
    let dynamic = with_middlewares(read["traefik"].as_str().unwrap());
    let running = Program::Traefik.start_with(&[("dynamic.yml", &dynamic)]);
    let reply = get(running.address, "/", "");
    assert_eq!(reply.status, 500, "{}", running.log());
}

#[test]
fn job_of_kubernetes_creates_the_tables_without_which_no_pod_starts() {
    let commands = &checked()["commands"];
    // Only the overlay for the first start has it: a database that is suddenly empty must not get tables.
    assert_eq!(commands["example"].as_object().unwrap().len(), 1);
    let of = |name: &str| -> Vec<String> {
        serde_json::from_value(commands["example-init"][name].clone()).unwrap()
    };
    let (serve, job) = (of("realmgate"), of("realmgate-init"));
    let (url, schema) = postgres::new_schema();
    let folder = tempfile::tempdir().unwrap();
    let store = on_server(
        folder.path(),
        &format!("url = \"{url}\"\nschema = \"{schema}\""),
    );
    let config = folder.path().join("realmgate.toml");
    fs::write(&config, configuration_with(&store, "")).unwrap();
    let key = realmgate(&["key", "generate"]).output().unwrap().stdout;
    let file = folder.path().join("realmgate.key");
    fs::write(&file, key).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let run = |args: &[String]| {
        let here = args
            .iter()
            .map(|it| it.replace("/etc/realmgate/realmgate.toml", config.to_str().unwrap()));
        realmgate(&[]).args(here).output().unwrap()
    };
    let early = run(&serve);
    assert_eq!(early.status.code(), Some(3), "{}", stderr(&early));
    for _ in 0..2 {
        let output = run(&job);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(stdout(&output), "", "a seed gets into the log");
    }
    let gate = Gate::start_in(folder, realmgate(&[]));
    let admin = gate.run(&["init"]);
    assert!(stdout(&admin).contains("\"seed\""), "{}", stderr(&admin));
}

/// Validates all files, and returns the configurations that their programs would read.
fn checked() -> Value {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(project.join("target/tools/bin/python"))
        .arg(project.join("tests/it/forward_auth/front/manifests.py"))
        .arg(project.join("deploy"))
        .output()
        .unwrap_or_else(|error| panic!("python: {error}; run scripts/setup test"));
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns Traefik's dynamic configuration with these middlewares instead of its own.
fn with_middlewares(middlewares: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/traefik/dynamic.yml");
    let own = fs::read_to_string(file).unwrap();
    let (routers, rest) = own.split_once("  middlewares:\n").unwrap();
    let (_, services) = rest.split_once("  services:\n").unwrap();
    let indented: String = middlewares
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect();
    format!("{routers}{indented}  services:\n{services}")
}
