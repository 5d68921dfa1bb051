//! The database and its companions on disk: who makes them, and who must not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::harness::{Caller, Gate, configuration, get, realmgate, send, stderr, stdout, until};

/// A folder with a configuration that names a database, a key and an audit log in it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit.jsonl");
    let audit = format!("[audit]\nfile = \"{}\"\n", audit.display());
    let text = configuration(folder.path(), &audit);
    fs::write(folder.path().join("realmgate.toml"), text).unwrap();
    folder
}

fn run(folder: &Path, args: &[&str]) -> Output {
    let mut command = realmgate(args);
    command.arg("--config").arg(folder.join("realmgate.toml"));
    command.output().unwrap()
}

/// Returns the names of the files in a folder, in order.
fn files(folder: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort_unstable();
    names
}

#[test]
fn commands_that_do_not_create_make_nothing_and_name_the_path() {
    let folder = folder();
    let copy = folder.path().join("copy.db").display().to_string();
    for args in [
        &["identity", "list"][..],
        &["identity", "list", "--realm", "r"],
        &["identity", "show", "a@r"],
        &["identity", "create", "a@r"],
        &["identity", "set", "a@r", "--comment", "x"],
        &["identity", "rotate", "a@r"],
        &["identity", "unthrottle", "a@r"],
        &["identity", "disable", "a@r"],
        &["identity", "enable", "a@r"],
        &["identity", "delete", "a@r"],
        &["key", "show"],
        &["key", "check"],
        &["key", "rotate"],
        &["key", "retire"],
        &["backup", &copy],
        &["explain", "GET", "/x", "--as", "a@r"],
    ] {
        let output = run(folder.path(), args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
        let expected = format!(
            "error: database {}: does not exist; name the configuration of another with --config FILE or \
             REALMGATE_CONFIG, or make it with `realmgate init`\n",
            folder.path().join("realmgate.db").display()
        );
        assert_eq!(said, expected, "{args:?}");
        assert_eq!(stdout(&output), "", "{args:?}");
        assert_eq!(files(folder.path()), ["realmgate.toml"], "{args:?}");
    }
}

#[test]
fn path_of_a_missing_database_is_absolute() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = realmgate(&["identity", "list"]);
    let output = command.current_dir(folder.path()).output().unwrap();
    let path = folder.path().canonicalize().unwrap().join("realmgate.db");
    let start = format!("error: database {}: does not exist", path.display());
    assert!(stderr(&output).starts_with(&start), "{}", stderr(&output));
    assert_eq!(files(folder.path()), [""; 0]);
}

/// A start that broke off before it has written anything leaves an empty file.
#[test]
fn empty_file_is_no_database() {
    let folder = folder();
    fs::write(folder.path().join("realmgate.db"), "").unwrap();
    let before = files(folder.path());
    for args in [
        &["identity", "list"][..],
        &["key", "show"],
        &["key", "check"],
    ] {
        let output = run(folder.path(), args);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert!(stderr(&output).contains("realmgate.db: does not exist"));
        assert_eq!(files(folder.path()), before, "{args:?}");
    }
    assert!(run(folder.path(), &["init"]).status.success());
}

#[test]
fn commands_that_read_make_no_audit_log() {
    let folder = folder();
    assert!(run(folder.path(), &["init"]).status.success());
    fs::remove_file(folder.path().join("audit.jsonl")).unwrap();
    let copy = folder.path().join("copy.db").display().to_string();
    for args in [
        &["identity", "list"][..],
        &["identity", "show", "admin@ungleich-admin"],
        &["key", "show"],
        &["key", "check"],
        &["backup", &copy],
        &[
            "explain",
            "GET",
            "/x",
            "--as",
            "admin@ungleich-admin",
            "--door",
            "forward-auth",
        ],
    ] {
        let output = run(folder.path(), args);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args:?}: {}",
            stderr(&output)
        );
        let names = files(folder.path());
        assert!(
            !names.contains(&"audit.jsonl".to_owned()),
            "{args:?}: {names:?}"
        );
    }
}

#[test]
fn first_start_makes_database_and_key() {
    let gate = Gate::start("");
    let folder = gate.config().parent().unwrap().to_owned();
    for name in ["realmgate.db", "realmgate.key"] {
        assert!(folder.join(name).exists(), "{name}");
    }
}

#[test]
fn key_without_a_database_stops_the_start_unless_that_is_meant() {
    let folder = folder();
    assert!(run(folder.path(), &["init"]).status.success());
    fs::remove_file(folder.path().join("realmgate.db")).unwrap();
    let key = fs::read(folder.path().join("realmgate.key")).unwrap();
    let output = run(folder.path(), &["serve"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let expected = format!(
        "error: database {0}/realmgate.db: does not exist, but key file {0}/realmgate.key does, so it may \
         have been moved or deleted; put it back, or begin with an empty one: --init, or `realmgate init`\n",
        folder.path().display()
    );
    assert_eq!(stderr(&output), expected);
    assert!(!folder.path().join("realmgate.db").exists());
    let mut command = realmgate(&[]);
    command.env("REALMGATE_LOG_FORMAT", "json");
    let path = folder.path().to_owned();
    let gate = Gate::start_in_with(folder, command, &["--init"]);
    gate.register("a", "r");
    assert_eq!(fs::read(path.join("realmgate.key")).unwrap(), key);
}

#[test]
fn key_from_the_environment_without_a_database_stops_the_start_too() {
    let folder = folder();
    let key = stdout(&realmgate(&["key", "generate"]).output().unwrap());
    let serve = |args: &[&str]| {
        let mut command = realmgate(args);
        command.env("REALMGATE_STORE_KEY", &key);
        command
            .arg("--config")
            .arg(folder.path().join("realmgate.toml"));
        command.output().unwrap()
    };
    let output = serve(&["serve"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("but REALMGATE_STORE_KEY does"));
    assert!(!folder.path().join("realmgate.db").exists());
    assert!(serve(&["init"]).status.success());
}

/// A server with an admin, somebody in its cache, and somebody who is not.
struct Scene {
    gate: Gate,
    admin: Caller,
    cached: Caller,
    stranger: Caller,
}

impl Scene {
    fn start(more: &str) -> Self {
        let gate = Gate::start(more);
        let scene = Self {
            admin: gate.register("root", "ungleich-admin"),
            cached: gate.register("cached", "r"),
            stranger: gate.register("stranger", "r"),
            gate,
        };
        assert_eq!(scene.create("before"), 201);
        until("it is cached", || scene.status(&scene.cached) == 200);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.gate.config().with_file_name(name)
    }

    fn status(&self, who: &Caller) -> u16 {
        get(self.gate.service, "/forward-auth", &who.fields()).status
    }

    fn create(&self, name: &str) -> u16 {
        let body = format!("{{\"name\":\"{name}\",\"realm\":\"r\"}}");
        let fields = self.admin.fields();
        let fields = format!("Content-Type: application/json\r\n{fields}");
        send(self.gate.service, "POST", "/ungleichotp/", &fields, &body).status
    }

    /// Asserts what holds once the files of the database are others, `how` it is told.
    fn assert_lost(&self, how: &str) {
        // Not even right after: what would go into the old file is not answered as done.
        assert_eq!(self.create("at-once"), 503);
        until("it is noticed", || {
            let ready = get(self.gate.service, "/readyz", "");
            ready.status == 503 && ready.body == "a file of the database was deleted or replaced\n"
        });
        assert_eq!(self.create("later"), 503);
        assert_eq!(self.status(&self.cached), 200);
        assert_eq!(self.status(&self.stranger), 503);
        let lines = || {
            let is_told = |line: &&str| line.contains("the database is lost to this process");
            let log = self.gate.log();
            log.lines()
                .filter(is_told)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        until("it is logged", || !lines().is_empty());
        let lines = lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains(" ERROR ") && lines[0].contains(how),
            "{lines:?}"
        );
    }
}

#[test]
fn deleted_database_is_noticed_and_nothing_is_written_any_more() {
    let scene = Scene::start("");
    let kept = scene.path("kept");
    // To look into it afterwards.
    fs::hard_link(scene.path("realmgate.db"), &kept).unwrap();
    for name in ["realmgate.db", "realmgate.db-wal", "realmgate.db-shm"] {
        fs::remove_file(scene.path(name)).unwrap();
    }
    scene.assert_lost("realmgate.db was deleted while it was in use");
    assert_eq!(scene.gate.run(&["identity", "list"]).status.code(), Some(3));
    assert!(!scene.path("realmgate.db").exists());
    // The way out: the database back in its place, and a restart.
    fs::rename(&kept, scene.path("realmgate.db")).unwrap();
    let Scene { gate, cached, .. } = scene;
    let gate = gate.restart();
    until("it serves again", || {
        get(gate.service, "/forward-auth", &cached.fields()).status != 503
    });
    assert_eq!(get(gate.service, "/readyz", "").status, 200);
}

#[test]
fn replaced_database_is_noticed_and_left_alone() {
    let scene = Scene::start("");
    let copy = scene.path("copy.db").display().to_string();
    assert!(scene.gate.run(&["backup", &copy]).status.success());
    let before = fs::read(&copy).unwrap();
    fs::rename(&copy, scene.path("realmgate.db")).unwrap();
    scene.assert_lost("realmgate.db was replaced while it was in use");
    assert!(fs::read(scene.path("realmgate.db")).unwrap() == before);
}

#[test]
fn deleted_write_ahead_log_or_its_index_is_noticed() {
    for name in ["realmgate.db-wal", "realmgate.db-shm"] {
        let scene = Scene::start("");
        fs::remove_file(scene.path(name)).unwrap();
        scene.assert_lost(&format!("{name} was deleted while it was in use"));
        // What was in the log is in the database after an ordinary end.
        let mut gate = scene.gate;
        gate.signal("TERM");
        assert!(gate.child.wait().unwrap().success());
        let listed = stdout(&gate.run(&["identity", "list"]));
        assert_eq!(listed.matches("\"before\"").count(), 1, "{name}: {listed}");
    }
}

#[test]
fn cached_callers_of_a_lost_database_pass_for_stale_if_error_at_most() {
    let scene = Scene::start("[cache]\nstale_if_error = \"1s\"\n");
    fs::remove_file(scene.path("realmgate.db")).unwrap();
    until("nobody passes", || scene.status(&scene.cached) == 503);
}
