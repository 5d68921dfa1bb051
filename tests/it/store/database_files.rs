//! The database files: who creates them, and who must not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::harness::{
    Caller, Gate, configuration, get, realmgate, send, stderr, stdout, until, with_mounts,
};

/// A command that predicts a decision about the administrator.
const EXPLAIN: [&str; 7] = [
    "explain",
    "GET",
    "/x",
    "--as",
    "admin@ungleich-admin",
    "--door",
    "forward-auth",
];

/// A directory with a configuration that names a database, a key and an audit log in it.
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

/// Returns the names of the files in a directory, sorted.
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
            "error: database {}: does not exist. Pass the right configuration with --config FILE or \
             REALMGATE_CONFIG, or create it with `realmgate init`\n",
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
    let expected = format!(
        "error: database {}: does not exist: realmgate.db in store.url is relative to the working directory, {}. Pass",
        path.display(),
        path.parent().unwrap().display()
    );
    assert!(
        stderr(&output).starts_with(&expected),
        "{}",
        stderr(&output)
    );
    assert_eq!(files(folder.path()), [""; 0]);
}

/// A start that is interrupted before the first write leaves an empty file.
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
        &EXPLAIN,
    ] {
        let output = run(folder.path(), args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
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
         have been moved or deleted; restore it, or start with an empty one (serve --init or `realmgate init`)\n",
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

/// A server with an administrator, a cached identity, and an uncached one.
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

    /// Asserts the behavior after the files were replaced. `how` is the text in the log.
    fn assert_lost(&self, how: &str) {
        // Not even right after the replacement is a change to the old file confirmed.
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
    // To inspect it later.
    fs::hard_link(scene.path("realmgate.db"), &kept).unwrap();
    for name in ["realmgate.db", "realmgate.db-wal", "realmgate.db-shm"] {
        fs::remove_file(scene.path(name)).unwrap();
    }
    scene.assert_lost("realmgate.db was deleted while it was in use");
    assert_eq!(scene.gate.run(&["identity", "list"]).status.code(), Some(3));
    assert!(!scene.path("realmgate.db").exists());
    // The remedy: move the database back, and restart.
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
        // After a normal shutdown, the content of the log is in the database.
        let mut gate = scene.gate;
        gate.signal("TERM");
        assert!(gate.child.wait().unwrap().success());
        let listed = stdout(&gate.run(&["identity", "list"]));
        assert_eq!(listed.matches("\"before\"").count(), 1, "{name}: {listed}");
    }
}

#[test]
fn database_that_is_emptied_in_place_is_noticed() {
    let scene = Scene::start("");
    fs::write(scene.path("realmgate.db"), "").unwrap();
    scene.assert_lost("realmgate.db was emptied while it was in use");
}

#[test]
fn cached_callers_of_a_lost_database_pass_for_stale_if_error_at_most() {
    let scene = Scene::start("[cache]\nstale_if_error = \"1s\"\n");
    fs::remove_file(scene.path("realmgate.db")).unwrap();
    until("nobody passes", || scene.status(&scene.cached) == 503);
}

/// A user who owns nothing here.
const NOBODY: u32 = 65534;

/// Makes a directory with a database that everybody may enter, owned by `owner`.
fn folder_of(owner: u32, mode: u32) -> TempDir {
    // Skipping these tests would hide problems.
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests change the owners of files: run them as root"
    );
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(folder.path(), "");
    fs::write(folder.path().join("realmgate.toml"), text).unwrap();
    assert!(run(folder.path(), &["init"]).status.success());
    set_mode(folder.path(), 0o755);
    chown(folder.path(), Some(owner), Some(owner)).unwrap();
    for name in ["realmgate.db", "realmgate.key"] {
        set_mode(&folder.path().join(name), mode);
    }
    folder
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn nobody(folder: &Path, args: &[&str]) -> Command {
    let user = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
        .arg(env!("CARGO_BIN_EXE_realmgate"))
        .args(args)
        .arg("--config")
        .arg(folder.join("realmgate.toml"));
    command
}

/// As in a Kubernetes Secret with `defaultMode: 0440` and an `fsGroup`.
#[test]
fn key_of_root_may_be_read_by_the_group_of_the_process() {
    let folder = folder_of(NOBODY, 0o600);
    let key = folder.path().join("realmgate.key");
    let said = || {
        let output = nobody(folder.path(), &["check"]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    for (owner, mode, is_exposed) in [
        (0, 0o440, false),
        (0, 0o640, false),
        (0, 0o444, true),
        (0, 0o460, true),
        (NOBODY, 0o440, true),
        (NOBODY, 0o400, false),
    ] {
        chown(&key, Some(owner), Some(NOBODY)).unwrap();
        set_mode(&key, mode);
        let warning = format!("others can read it (mode {mode:04o})");
        let said = said();
        assert_eq!(
            said.contains(&warning),
            is_exposed,
            "{owner} {mode:o}: {said}"
        );
    }
}

#[test]
fn init_of_the_database_only_prints_no_seed_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(folder.path(), "");
    fs::write(folder.path().join("realmgate.toml"), text).unwrap();
    for _ in 0..2 {
        let output = run(folder.path(), &["init", "--database-only"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
        let list = run(folder.path(), &["identity", "list", "--json"]);
        assert!(list.status.success(), "{}", stderr(&list));
        assert_eq!(stdout(&list), "");
    }
    let output = run(folder.path(), &["init"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("\"seed\""));
    // It does not replace a check that the database is empty.
    assert_eq!(run(folder.path(), &["init"]).status.code(), Some(1));
    assert!(
        run(folder.path(), &["init", "--database-only"])
            .status
            .success()
    );
}

#[test]
fn check_warns_of_a_missing_directory_that_init_does_not_create() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let text = configuration(&missing, "");
    let config = folder.path().join("realmgate.toml");
    fs::write(&config, text).unwrap();
    let warning = format!("directory {} does not exist", missing.display());
    let check = || run(folder.path(), &["check", "--strict"]);
    let said = stderr(&check());
    assert_eq!(said.matches(&warning).count(), 1, "{said}");
    let init = run(folder.path(), &["init"]);
    assert_eq!(init.status.code(), Some(3), "{}", stderr(&init));
    fs::create_dir(&missing).unwrap();
    let output = check();
    assert!(!stderr(&output).contains(&warning), "{}", stderr(&output));
}

#[test]
fn database_of_another_user_is_named_with_its_owner() {
    let folder = folder_of(NOBODY, 0o600);
    chown(folder.path().join("realmgate.key"), Some(NOBODY), None).unwrap();
    for (args, need) in [
        (&["serve"][..], "written"),
        (&["identity", "disable", "admin@ungleich-admin"], "written"),
        (&["identity", "list"], "read"),
        (&["key", "show"], "read"),
        (&["backup", "/tmp/never.db"], "read"),
    ] {
        let output = nobody(folder.path(), args).output().unwrap();
        let said = stderr(&output);
        // Files of SQLite beside the database may be named in between.
        let begin = format!(
            "error: database {0}: cannot be {need}: {0} belongs to root (uid 0), mode 0600; ",
            folder.path().join("realmgate.db").display()
        );
        let end = "this process runs as nobody (uid 65534)\n";
        let is_named = said.starts_with(&begin) && said.ends_with(end);
        assert_eq!(
            (output.status.code(), is_named),
            (Some(3), true),
            "{args:?}: {said}"
        );
    }
}

#[test]
fn directory_and_companions_of_another_user_are_named() {
    let folder = folder_of(0, 0o600);
    let (database, log) = (
        folder.path().join("realmgate.db"),
        folder.path().join("realmgate.db-wal"),
    );
    for name in ["realmgate.db", "realmgate.key"] {
        chown(folder.path().join(name), Some(NOBODY), None).unwrap();
    }
    let said = |args: &[&str]| {
        let output = nobody(folder.path(), args).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        stderr(&output)
    };
    let start = format!(
        "error: database {}: cannot be written: ",
        database.display()
    );
    let of = |path: &Path, mode| {
        format!(
            "{start}{} belongs to root (uid 0), mode {mode}; this process runs as nobody (uid 65534)\n",
            path.display()
        )
    };
    assert_eq!(said(&["serve"]), of(folder.path(), "0755"));
    chown(folder.path(), Some(NOBODY), None).unwrap();
    // A file that a command run as root may have left.
    fs::write(&log, "x").unwrap();
    set_mode(&log, 0o600);
    assert_eq!(said(&["serve"]), of(&log, "0600"));
    fs::remove_file(&log).unwrap();
    chown(folder.path(), Some(0), None).unwrap();
    set_mode(folder.path(), 0o700);
    // The configuration is not accessible there either.
    let mut command = nobody(folder.path(), &["identity", "list"]);
    let other = tempfile::tempdir().unwrap();
    set_mode(other.path(), 0o755);
    let config = other.path().join("realmgate.toml");
    fs::copy(folder.path().join("realmgate.toml"), &config).unwrap();
    let output = command.arg("--config").arg(&config).output().unwrap();
    assert!(!output.status.success());
    let output = nobody(other.path(), &["identity", "list"])
        .output()
        .unwrap();
    let expected = format!(
        "error: database {}: cannot be read: {} belongs to root (uid 0), mode 0700; this process runs as nobody \
         (uid 65534)\n",
        database.display(),
        folder.path().display()
    );
    assert_eq!((output.status.code(), stderr(&output)), (Some(3), expected));
}

#[test]
fn key_file_of_another_user_is_named_with_its_owner() {
    let folder = folder_of(NOBODY, 0o600);
    chown(folder.path().join("realmgate.db"), Some(NOBODY), None).unwrap();
    let output = nobody(folder.path(), &["serve"]).output().unwrap();
    let expected = format!(
        "error: key file {0}: cannot be read: Permission denied (os error 13): {0} belongs to root (uid 0), mode \
         0600; this process runs as nobody (uid 65534)\n",
        folder.path().join("realmgate.key").display()
    );
    assert_eq!((output.status.code(), stderr(&output)), (Some(3), expected));
}

/// Runs each command that reads, as a user who may not write.
fn assert_readable(folder: &Path, run: impl Fn(&[&str]) -> Output) {
    let before = files(folder);
    for args in [
        &["identity", "list"][..],
        &["identity", "list", "--realm", "ungleich-admin"],
        &["identity", "show", "admin@ungleich-admin"],
        &["key", "show"],
        &["key", "check"],
        &EXPLAIN,
    ] {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        assert_eq!(files(folder), before, "{args:?}");
    }
}

#[test]
fn commands_that_read_need_no_permission_to_write() {
    let folder = folder_of(0, 0o644);
    let own = tempfile::tempdir().unwrap();
    chown(own.path(), Some(NOBODY), None).unwrap();
    let copy = own.path().join("copy.db").display().to_string();
    let as_nobody = |args: &[&str]| nobody(folder.path(), args).output().unwrap();
    assert_readable(folder.path(), as_nobody);
    let output = as_nobody(&["backup", &copy]);
    assert!(output.status.success(), "{}", stderr(&output));
    fs::remove_file(&copy).unwrap();
    // While it is served, the content of the log counts too.
    let path = folder.path().to_owned();
    let gate = Gate::start_in(folder, realmgate(&[]));
    gate.register("new", "r");
    let as_nobody = |args: &[&str]| nobody(&path, args).output().unwrap();
    assert_readable(&path, as_nobody);
    assert!(stdout(&as_nobody(&["identity", "list"])).contains("new@r"));
    let output = as_nobody(&["backup", &copy]);
    assert!(
        stdout(&output).contains("2 identities"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn log_that_cannot_be_read_without_an_index_is_reported() {
    let folder = folder_of(0, 0o644);
    let mut gate = Gate::start_in(folder, realmgate(&[]));
    gate.register("new", "r");
    gate.child.kill().unwrap();
    gate.child.wait().unwrap();
    let path = gate.config().parent().unwrap().to_owned();
    fs::remove_file(path.join("realmgate.db-shm")).unwrap();
    let output = nobody(&path, &["identity", "list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let expected = "realmgate.db-wal contains changes that can only be read with ";
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
}

#[test]
fn read_only_file_system_is_named_and_read_from() {
    let folder = folder();
    assert!(run(folder.path(), &["init"]).status.success());
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec \"${@:2}\"";
    let read_only = |args: &[&str]| {
        let mut command = with_mounts(script);
        command
            .arg(folder.path())
            .arg(env!("CARGO_BIN_EXE_realmgate"))
            .args(args)
            .arg("--config")
            .arg(folder.path().join("realmgate.toml"));
        command.output().unwrap()
    };
    assert_readable(folder.path(), read_only);
    // Without an audit log, which would fail first.
    let text = configuration(folder.path(), "");
    fs::write(folder.path().join("realmgate.toml"), text).unwrap();
    for args in [
        &["serve"][..],
        &["identity", "disable", "admin@ungleich-admin"],
    ] {
        let output = read_only(args);
        let expected = format!("{} is on a read-only file system", folder.path().display());
        assert_eq!(
            output.status.code(),
            Some(3),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(&expected),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn backup_leaves_nothing_beside_the_database() {
    let folder = folder();
    assert!(run(folder.path(), &["init"]).status.success());
    let before = files(folder.path());
    let other = tempfile::tempdir().unwrap();
    let copy = other.path().join("copy.db").display().to_string();
    assert!(run(folder.path(), &["backup", &copy]).status.success());
    assert_eq!(files(folder.path()), before);
    assert_eq!(files(other.path()), ["copy.db"]);
}

/// The commands in docs/operations.md: root restores the database of a service with its own user.
#[test]
fn documented_restore_gives_the_service_a_database_that_it_can_write() {
    let folder = folder_of(NOBODY, 0o600);
    for name in ["realmgate.db", "realmgate.key"] {
        chown(folder.path().join(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let other = tempfile::tempdir().unwrap();
    let copy = other.path().join("copy.db").display().to_string();
    assert!(run(folder.path(), &["backup", &copy]).status.success());
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = fs::read_to_string(page).unwrap();
    let line = page
        .lines()
        .find(|line| line.starts_with("install -m 0600 -o"))
        .unwrap();
    assert!(line.contains("\"$backup\""), "{line}");
    fs::write(folder.path().join("realmgate.db"), "what is to be replaced").unwrap();
    let mut shell = Command::new("bash");
    let status = shell
        .current_dir(folder.path())
        .env("backup", &copy)
        .args(["-ec", line])
        .status();
    assert!(status.unwrap().success());
    let path = folder.path().to_owned();
    let args = ["identity", "disable", "admin@ungleich-admin"];
    let output = nobody(&path, &args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn readiness_looks_where_requests_look() {
    let mut gate = Gate::start("");
    let caller = gate.register("svc", "r");
    gate.signal("TERM");
    assert!(gate.child.wait().unwrap().success());
    let path = gate.config().with_file_name("realmgate.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    let root = |name: &str| {
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let root = database.query_row(sql, (name,), |row| row.get::<_, u32>(0));
        root.unwrap()
    };
    let roots = [
        "identity",
        "sqlite_autoindex_identity_1",
        "identity_use",
        "spent",
    ]
    .map(root);
    let size: u32 = database
        .pragma_query_value(None, "page_size", |row| row.get(0))
        .unwrap();
    drop(database);
    let whole = fs::read(&path).unwrap();
    for page in roots {
        let mut broken = whole.clone();
        let from = usize::try_from((page - 1) * size).unwrap();
        broken[from..from + 100].fill(0xff);
        fs::write(&path, &broken).unwrap();
        let folder = gate.into_folder();
        gate = Gate::start_in(folder, realmgate(&[]));
        let ready = get(gate.service, "/readyz", "");
        assert_eq!(ready.status, 503, "page {page}");
        gate.signal("KILL");
        gate.child.wait().unwrap();
        for name in ["realmgate.db-wal", "realmgate.db-shm", "ready.json"] {
            let _ = fs::remove_file(gate.config().with_file_name(name));
        }
    }
    fs::write(&path, &whole).unwrap();
    let gate = Gate::start_in(gate.into_folder(), realmgate(&[]));
    assert_eq!(get(gate.service, "/readyz", "").status, 200);
    assert_eq!(
        get(gate.service, "/forward-auth", &caller.fields()).status,
        200
    );
}

#[test]
fn log_that_a_slow_reader_has_let_grow_is_cut() {
    let gate = Gate::start("");
    let path = gate.config().with_file_name("realmgate.db");
    let size = || {
        fs::metadata(path.with_file_name("realmgate.db-wal"))
            .unwrap()
            .len()
    };
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader
        .execute_batch("BEGIN; SELECT * FROM identity")
        .unwrap();
    let large = 16 << 20;
    for n in 0..100 {
        super::fill(&gate.config(), n * 2000..(n + 1) * 2000);
        if size() > large {
            break;
        }
    }
    assert!(size() > large, "{}", size());
    reader.execute_batch("COMMIT").unwrap();
    until("it is cut", || size() <= large);
}

#[test]
fn unfinished_file_of_a_killed_backup_is_removed_by_the_next() {
    let folder = folder();
    assert!(run(folder.path(), &["init"]).status.success());
    let other = tempfile::tempdir().unwrap();
    let draft = other.path().join("monday.db.4711-0.realmgate-new");
    fs::write(&draft, "half a copy").unwrap();
    let key = folder.path().join("realmgate.key.4711-0.realmgate-new");
    fs::write(&key, "keys").unwrap();
    let copy = other.path().join("tuesday.db").display().to_string();
    assert!(run(folder.path(), &["backup", &copy]).status.success());
    assert_eq!(files(other.path()), ["tuesday.db"]);
    assert!(run(folder.path(), &["key", "rotate"]).status.success());
    assert!(!key.exists());
}
