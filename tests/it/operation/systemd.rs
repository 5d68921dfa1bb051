//! The units in `deploy/systemd/`, checked by systemd.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::harness::{realmgate, stderr, stdout};

/// The maximum exposure in tenths of systemd's points: 0 is the least, 100 the most; a service
/// without hardening has 96.
const EXPOSURE: u32 = 15;

const SERVICE: &str = "realmgate.service";
const SOCKETS: [&str; 5] = ["service", "gateway", "grpc", "metrics", "admin"];

/// Copies the units, with the binary under test instead of the installed one.
fn units() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd");
    let names = SOCKETS.map(|name| format!("realmgate-{name}.socket"));
    for name in names.iter().map(String::as_str).chain([SERVICE]) {
        let text = fs::read_to_string(from.join(name)).unwrap();
        let real = realmgate(&[]).get_program().to_string_lossy().into_owned();
        let text = text.replace("/usr/local/bin/realmgate", &real);
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn analyze(folder: &TempDir, args: &[&str]) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.current_dir(folder.path()).args(args);
    command.output().unwrap()
}

#[test]
fn systemd_takes_the_units() {
    let folder = units();
    let sockets = SOCKETS.map(|name| format!("./realmgate-{name}.socket"));
    let mut args = vec!["verify", "--man=no", "./realmgate.service"];
    args.extend(sockets.iter().map(String::as_str));
    let output = analyze(&folder, &args);
    assert!(output.status.success(), "{}", stderr(&output));
    // systemd only warns about unknown settings. Units of the machine may cause warnings too.
    assert!(
        !stderr(&output).contains("realmgate"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn service_is_hardened() {
    let folder = units();
    let threshold = format!("--threshold={EXPOSURE}");
    let args = [
        "security",
        "--offline=true",
        "--no-pager",
        &threshold,
        "./realmgate.service",
    ];
    let output = analyze(&folder, &args);
    assert!(output.status.success(), "{}", stdout(&output));
}

#[test]
fn unit_makes_no_core() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unit = fs::read_to_string(root.join("deploy/systemd/realmgate.service")).unwrap();
    assert!(unit.contains("\nLimitCORE=0\n"));
}

#[test]
fn sockets_have_the_names_and_addresses_that_realmgate_knows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference = fs::read_to_string(root.join("config/realmgate.toml")).unwrap();
    for name in SOCKETS {
        let unit = root.join(format!("deploy/systemd/realmgate-{name}.socket"));
        let unit = fs::read_to_string(unit).unwrap();
        assert!(unit.contains(&format!("\nFileDescriptorName={name}\n")));
        assert!(unit.contains("\nService=realmgate.service\n"));
        let address = unit
            .lines()
            .find_map(|line| line.strip_prefix("ListenStream="))
            .unwrap();
        // The page is off by default. Its own page names the address.
        if name == "admin" {
            let page = fs::read_to_string(root.join("docs/admin-page.md")).unwrap();
            assert!(page.contains(&format!("listen = \"{address}\"")));
            continue;
        }
        let section = reference.split_once(&format!("\n[{name}]\n")).unwrap().1;
        let section = section.split("\n[").next().unwrap();
        assert!(
            section.contains(&format!("#listen = \"{address}\"")),
            "{name}"
        );
    }
}

#[test]
fn service_is_started_again_for_as_long_as_something_is_missing() {
    let folder = units();
    let unit = fs::read_to_string(folder.path().join(SERVICE)).unwrap();
    let of = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key));
    assert_eq!(of("StartLimitIntervalSec="), Some("0"));
    assert_eq!(of("Restart="), Some("on-failure"));
    assert_eq!(of("RestartSec="), Some("2s"));
    // Errors that a restart does not fix have this exit code.
    assert_eq!(of("RestartPreventExitStatus="), Some("2"));
    // systemd waits with a reload until the service is ready.
    assert_eq!(of("Type="), Some("notify"));
}
