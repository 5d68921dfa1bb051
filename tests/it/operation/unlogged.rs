//! Commands without a writable audit log: they change nothing, or report what they have changed.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{configuration, realmgate, stderr, stdout};

const CHANGES: &str = "realmgate identity rotate billing@payments; echo code $?; \
    realmgate identity disable billing@payments; echo code $?; \
    realmgate identity delete billing@payments; echo code $?; \
    realmgate identity create other@payments; echo code $?; \
    realmgate init; echo code $?; \
    realmgate key rotate; echo code $?; \
    realmgate identity list; echo list $?";

/// The number of commands that change something.
const HOW_MANY: usize = 6;

/// A directory `kept` with the database, and a small disk with the audit log, which only a script
/// sees.
struct Scene(TempDir);

impl Scene {
    /// Runs a script with `$disk` for the disk, `$kept` for the directory, and `realmgate` for a
    /// command with its configuration. There is an identity, and `before.db` is a copy of the
    /// initial database.
    fn run(script: &str) -> (Self, String) {
        let folder = tempfile::tempdir().unwrap();
        let (disk, kept) = (folder.path().join("disk"), folder.path().join("kept"));
        fs::create_dir(&disk).unwrap();
        fs::create_dir(&kept).unwrap();
        let log = disk.join("audit.jsonl");
        let more = format!("[audit]\nfile = \"{}\"\n", log.display());
        fs::write(kept.join("realmgate.toml"), configuration(&kept, &more)).unwrap();
        let script = format!(
            "set -e; disk=$1 kept=$2 program=$3; export REALMGATE_CONFIG=\"$kept/realmgate.toml\"
            mount -t tmpfs -o size=8m,mode=0700 tmpfs \"$disk\"
            realmgate() {{ \"$program\" \"$@\" 2>&1; }}
            realmgate init >\"$kept/made\"
            realmgate identity create billing@payments >\"$kept/made\"
            realmgate backup \"$kept/before.db\" >\"$kept/copied\"
            set +e; {script}; true"
        );
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "bash", "-c"])
            .args([&script, "bash"])
            .args([&disk, &kept])
            .arg(realmgate(&[]).get_program())
            .output()
            .unwrap();
        let said = stdout(&output);
        assert!(output.status.success(), "{said}{}", stderr(&output));
        (Self(folder), said)
    }

    /// Fails unless every change was rejected with a reason, and nothing has changed.
    #[track_caller]
    fn is_untouched(&self, said: &str, reason: &str) {
        let kept = self.0.path().join("kept");
        let [before, now] = ["before.db", "realmgate.db"].map(|name| rows(&kept.join(name)));
        assert_eq!(before, now, "{said}");
        assert_eq!(said.matches("code 3").count(), HOW_MANY, "{said}");
        assert_eq!(said.matches(reason).count(), HOW_MANY, "{said}");
        assert!(!said.contains("otpauth"), "{said}");
        assert!(said.contains("list 0"), "{said}");
    }
}

fn rows(database: &Path) -> Vec<(String, String, Vec<u8>)> {
    let database = rusqlite::Connection::open(database).unwrap();
    let mut rows = database
        .prepare("SELECT name, state, seed FROM identity ORDER BY id")
        .unwrap();
    let rows = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn commands_change_nothing_on_a_full_disk() {
    let fill = "cat /dev/zero >\"$disk/others\" 2>/dev/null";
    let (scene, said) = Scene::run(&format!("{fill}; {CHANGES}"));
    scene.is_untouched(&said, "nothing was changed");
    assert!(said.contains("audit log cannot be written: "), "{said}");
}

#[test]
fn commands_change_nothing_beyond_a_limit_on_the_size_of_files() {
    // The database stays far below the limit, and the log is beyond it.
    let long = "head -c 5000000 /dev/zero | tr '\\0' '\\n' >>\"$disk/audit.jsonl\"; ulimit -f 4000";
    let (scene, said) = Scene::run(&format!("{long}; {CHANGES}"));
    scene.is_untouched(&said, "nothing was changed");
    assert!(said.contains("file too large"), "{said}");
}

#[test]
fn log_that_cannot_be_opened_is_code_3_and_stops_no_command_that_reads() {
    for broken in [
        "rm \"$disk\"/*; mkdir \"$disk/audit.jsonl\"",
        "rm \"$disk\"/*; umount \"$disk\"; rmdir \"$disk\"",
        "mount -o remount,ro \"$disk\"",
    ] {
        let reads = "realmgate identity show billing@payments; echo show $?; \
            realmgate key show; echo show $?; realmgate check; echo check $?; \
            realmgate check --strict >/dev/null; echo strict $?; \
            realmgate serve >/dev/null; echo serve $?";
        let (scene, said) = Scene::run(&format!("{broken}; {CHANGES}; {reads}"));
        scene.is_untouched(&said, ": cannot be read and written");
        assert_eq!(said.matches("show 0").count(), 2, "{said}");
        assert!(
            said.contains("check 0") && said.contains("strict 2"),
            "{said}"
        );
        assert!(said.contains("serve 3"), "{said}");
        assert!(said.contains("not writable by this user"), "{said}");
    }
}

#[test]
fn seed_is_printed_where_its_line_cannot_be_written_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let more = format!("[audit]\nfile = \"{}\"\n", log.display());
    let config = folder.path().join("realmgate.toml");
    fs::write(&config, configuration(folder.path(), &more)).unwrap();
    let init = realmgate(&["init", "--config"]).arg(&config).output();
    assert!(init.unwrap().status.success());
    let run = |mut command: Command| {
        let who = "billing@payments";
        command.args(["identity", "create", who, "--json", "--config"]);
        command.arg(&config).output().unwrap()
    };
    let mut failing = Command::new("strace");
    failing
        .args(["-f", "-o", "/dev/null", "-e", "trace=fdatasync"])
        .args(["-e", "inject=fdatasync:error=EIO"])
        .arg(realmgate(&[]).get_program());
    let output = run(failing);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(made["seed"].as_str().is_some_and(|seed| seed.len() >= 32));
    assert!(stderr(&output).contains("the change was made, but its line is not in the audit log"));
    assert!(stderr(&output).contains("Input/output error"));
    // The first administrator exists, so a second `init` fails.
    assert_eq!(run(realmgate(&[])).status.code(), Some(1));
}
