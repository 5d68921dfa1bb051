//! Clocks before 1970 or after 9999, simulated by faketime.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Gate, get, realmgate, stderr, until};

/// A clock that differs from the real one and can be changed while a process runs.
pub(crate) struct Clock {
    folder: TempDir,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let clock = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        // For processes of other users.
        let everyone = fs::Permissions::from_mode(0o755);
        fs::set_permissions(clock.folder.path(), everyone).unwrap();
        clock.set("+0");
        clock
    }

    /// Sets its offset from the real clock: `+3d`, `-100y`.
    pub(crate) fn set(&self, offset: &str) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, format!("{offset}\n")).unwrap();
        fs::rename(draft, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// Makes a process use it. Durations follow the real clock.
    pub(crate) fn rule(&self, command: &mut Command) {
        command.envs(self.environment());
    }

    /// Returns the variables that make a process use it.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", library().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }
}

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap();
    let mut libraries = folders
        .map(|folder| folder.unwrap().path())
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    libraries
        .find(|library| library.exists())
        .unwrap_or_else(|| panic!("no faketime; run scripts/setup test"))
}

/// Before 1970, and after 9999.
const UNUSABLE: [&str; 2] = ["-100y", "+9000y"];

#[test]
fn clock_out_of_range_stops_every_command_without_a_panic() {
    let clock = Clock::new();
    let folder = tempfile::tempdir().unwrap();
    for offset in UNUSABLE {
        clock.set(offset);
        for args in [
            &["serve"][..],
            &["identity", "list"],
            &["token", "--seed", "JBSWY3DPEHPK3PXP"],
            &["client", "list", "--server-url", "https://127.0.0.1:9"],
        ] {
            let mut command = realmgate(args);
            clock.rule(&mut command);
            let output = command.current_dir(folder.path()).output().unwrap();
            let error = stderr(&output);
            assert_eq!(output.status.code(), Some(3), "{args:?}: {error}");
            assert!(error.contains("the system clock is before 1970 or after 9999"));
            assert!(!error.contains("panicked"), "{error}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn clock_that_jumps_out_of_all_years_and_back_ends_nothing_but_connections() {
    let clock = Clock::new();
    let mut command = realmgate(&[]);
    clock.rule(&mut command);
    let logs = tempfile::tempdir().unwrap();
    let (audit, access) = (logs.path().join("audit"), logs.path().join("access"));
    let more = format!(
        "[log]\naccess = 'all'\naccess_file = '{}'\n[audit]\nfile = '{}'\nrepeats_every = '100ms'\n",
        access.display(),
        audit.display()
    );
    let gate = Gate::start_as(command, &more);
    let caller = gate.register("billing", "payments");
    let ask = |fields: &str| answered(&gate, fields);
    for (round, offset) in UNUSABLE.into_iter().enumerate() {
        assert_eq!(ask(&caller.fields()), Some(200), "{}", gate.log());
        clock.set(offset);
        for _ in 0..3 {
            assert_eq!(ask(&caller.fields()), None);
        }
        until("it is reported", || {
            occurrences(&gate.log(), "connections are closed") == round + 1
        });
        clock.set("+0");
        assert_eq!(ask(&caller.fields()), Some(200), "{}", gate.log());
        assert_eq!(ask(""), Some(401));
        until("it is reported", || {
            occurrences(&gate.log(), "is usable again") == round + 1
        });
    }
    // No process has ended in between.
    let lines = |path: &Path| fs::read_to_string(path).unwrap_or_default().lines().count();
    until("the audit log has both denials", || {
        fs::read_to_string(&audit).is_ok_and(|text| text.matches("no_credential").count() == 2)
    });
    until("the access log has every answer", || lines(&access) == 6);
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}

fn occurrences(log: &str, what: &str) -> usize {
    log.matches(what).count()
}

/// Returns the status of a response; `None` if the connection ends without one.
fn answered(gate: &Gate, fields: &str) -> Option<u16> {
    let service = gate.service;
    let fields = fields.to_owned();
    // This panics if there is no response.
    std::panic::catch_unwind(move || get(service, "/forward-auth", &fields).status).ok()
}

/// A request may have begun before the clock was set back to 1970.
#[test]
fn time_that_is_too_far_away_is_rejected_or_shown() {
    let gate = Gate::start("");
    gate.register("billing", "payments");
    let who = ["--name", "billing", "--realm", "payments"];
    let set = |time: &str| {
        let output = gate.run(&[&["identity", "set"], &who[..], &["--expires", time]].concat());
        (output.status.code(), stderr(&output))
    };
    assert_eq!(set("9999-12-31T23:59:59Z").0, Some(0));
    let (code, error) = set("9000years");
    assert_eq!(code, Some(2), "{error}");
    let grace = ["--grace", "9000years"];
    let rotated = gate.run(&[&["identity", "rotate"], &who[..], &grace].concat());
    assert!(rotated.status.success(), "{}", stderr(&rotated));
    let shown = realmgate(&[
        "identity", "show", "--name", "billing", "--realm", "payments",
    ])
    .arg("--config")
    .arg(gate.config())
    .output()
    .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("expires 9999-12-31T23:59:59Z"), "{text}");
    assert!(
        text.contains("old seed valid until 9999-12-31T23:59:59Z"),
        "{text}"
    );
}
