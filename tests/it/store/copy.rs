//! Copies of a database to another one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::postgres::{new_schema, sql_in};
use crate::harness::{Caller, Gate, configuration_with, get, realmgate, stderr, until};

const ONCE: &str = "[realm.once]\nreuse = \"once\"\n";

/// The number of identities that take a while to copy.
const MANY: u64 = 30_000;

/// A database, and its configuration.
struct Place {
    url: String,
    schema: Option<String>,
    config: TempDir,
}

impl Place {
    fn file(path: &Path, key: &Path) -> Self {
        Self::with(format!("sqlite:{}", path.display()), None, key)
    }

    fn server(key: &Path) -> Self {
        let (url, schema) = new_schema();
        Self::with(url, Some(schema), key)
    }

    fn with(url: String, schema: Option<String>, key: &Path) -> Self {
        let config = tempfile::tempdir().unwrap();
        let schema_key = schema.as_ref().map(|it| format!("schema = \"{it}\"\n"));
        let store = format!(
            "url = \"{url}\"\n{}key_file = \"{}\"",
            schema_key.unwrap_or_default(),
            key.display()
        );
        fs::write(
            config.path().join("realmgate.toml"),
            configuration_with(&store, ONCE),
        )
        .unwrap();
        Self {
            url,
            schema,
            config,
        }
    }

    fn serve(&self) -> Gate {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("realmgate.toml");
        fs::copy(self.config(), config).unwrap();
        Gate::start_in_with(folder, realmgate(&[]), &["--init"])
    }

    fn config(&self) -> PathBuf {
        self.config.path().join("realmgate.toml")
    }

    /// Returns the number of identities; `None` if there is no table.
    fn count(&self) -> Option<u64> {
        const COUNT: &str = "SELECT count(*) FROM identity";
        match self.url.strip_prefix("sqlite:") {
            Some(path) if !Path::new(path).exists() => None,
            Some(path) => {
                let database = Connection::open(path).unwrap();
                let count = database.query_row(COUNT, (), |row| row.get::<_, i64>(0));
                Some(count.unwrap().unsigned_abs())
            }
            None => {
                let number = |sql| sql_in(&self.config(), sql).trim().parse().unwrap();
                let sql = "SELECT count(*) FROM pg_tables
                    WHERE tablename = 'identity' AND schemaname = current_schema()";
                let tables: u64 = number(sql);
                (tables > 0).then(|| number(COUNT))
            }
        }
    }
}

fn copying(from: &Place, to: &Place, options: &[&str]) -> Command {
    let mut command = realmgate(&["store", "copy", "--json", "--from"]);
    command.args([&from.url, "--to", &to.url]).args(options);
    if let Some(schema) = from.schema.as_ref().or(to.schema.as_ref()) {
        command.args(["--schema", schema]);
    }
    command.env_remove("REALMGATE_CONFIG");
    command
}

fn copy(from: &Place, to: &Place, options: &[&str]) -> Output {
    copying(from, to, options).output().unwrap()
}

fn copied(from: &Place, to: &Place, options: &[&str]) -> Value {
    let output = copy(from, to, options);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn end(mut gate: Gate) {
    gate.signal("TERM");
    assert!(gate.child.wait().unwrap().success());
}

fn status(gate: &Gate, fields: &str) -> u16 {
    get(gate.service, "/forward-auth", fields).status
}

fn failures(gate: &Gate, caller: &Caller) -> u64 {
    let who = format!("{}@{}", caller.name, caller.realm);
    let output = gate.run(&["identity", "show", &who]);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    shown["throttle"]["failures"].as_u64().unwrap()
}

fn rows(path: &Path) -> Vec<String> {
    let database = Connection::open(path).unwrap();
    let mut statement = database
        .prepare(
            "SELECT format('%d %s %s %s %s %s %d %d', id, name, realm, hex(seed),
                hex(previous_seed), coalesce(comment, '-'), created, updated)
                FROM identity ORDER BY id",
        )
        .unwrap();
    let rows = statement.query_map((), |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn copy_to_a_server_and_back_is_the_same_database() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("realmgate.key");
    let paths = ["one.db", "back.db"].map(|name| folder.path().join(name));
    let [file, back] = [&paths[0], &paths[1]].map(|path| Place::file(path, &key));
    let server = Place::server(&key);
    let one = file.serve();
    let [plain, once] =
        [("plain", "payments"), ("once", "once")].map(|it| one.register(it.0, it.1));
    one.register("gone", "payments");
    for args in [
        &["identity", "rotate", "plain@payments", "--grace", "1h"][..],
        &[
            "identity",
            "set",
            "once@once",
            "--comment",
            "Grüße \u{1f511}",
        ],
        &["identity", "delete", "gone@payments"],
    ] {
        let output = one.run(args);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let used = once.fields();
    assert_eq!(status(&one, &used), 200);
    until("the previous seed passes", || {
        status(&one, &plain.fields()) == 200
    });
    for _ in 0..3 {
        let wrong = once.fields_with(&once.wrong_token());
        get(one.service, "/forward-auth", &wrong);
    }
    until("saved", || failures(&one, &once) == 3);
    end(one);

    let dry = copied(&file, &server, &[]);
    assert_eq!(server.count(), None);
    let done = copied(&file, &server, &["--apply"]);
    for (key, expected) in [("identities", 2), ("uses", 2), ("one_time", 1)] {
        assert_eq!(done[key], expected, "{done}");
        assert_eq!(dry[key], expected, "{dry}");
    }
    assert_eq!(
        (&dry["applied"], &done["applied"]),
        (&false.into(), &true.into())
    );
    assert_eq!(dry["checksum"], done["checksum"]);
    assert_eq!(copied(&server, &back, &[])["checksum"], done["checksum"]);
    assert!(!paths[1].exists());
    let returned = copied(&server, &back, &["--apply"]);
    for key in ["checksum", "failures", "keys"] {
        assert_eq!(returned[key], done[key], "{key}");
    }
    assert_eq!(rows(&paths[0]), rows(&paths[1]));
    for to in [&server, &back] {
        let full = copy(&file, to, &["--apply"]);
        assert_eq!(full.status.code(), Some(1));
        let said = stderr(&full);
        assert!(said.contains("has 2 identities already"), "{said}");
    }
    for place in [&server, &back] {
        let gate = place.serve();
        assert_eq!(failures(&gate, &once), 3);
        assert_eq!(status(&gate, &plain.fields()), 200);
        assert_eq!(status(&gate, &used), 401);
        let created = gate.run(&["identity", "create", "new@payments"]);
        let created: Value = serde_json::from_slice(&created.stdout).unwrap();
        // The number of the deleted identity is not given again.
        assert_eq!(created["id"], 4, "{created}");
    }
}

#[test]
fn running_processes_of_the_target_notice_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("realmgate.key");
    let file = Place::file(&folder.path().join("one.db"), &key);
    let one = file.serve();
    let caller = one.register("svc", "payments");
    end(one);
    for target in [
        Place::server(&key),
        Place::file(&folder.path().join("two.db"), &key),
    ] {
        let gate = target.serve();
        assert_eq!(status(&gate, &caller.fields()), 401);
        let done = copied(&file, &target, &["--apply"]);
        assert_eq!(
            (&done["identities"], &done["failures"]),
            (&1.into(), &Value::Null)
        );
        until("it passes", || status(&gate, &caller.fields()) == 200);
    }
}

/// Makes a database with many identities, whose seeds do not decrypt, one of them with a key that
/// is not the current one.
fn large(folder: &Path, key: &Path) -> Place {
    let path = folder.join("large.db");
    let place = Place::file(&path, key);
    end(place.serve());
    let database = Connection::open(&path).unwrap();
    let insert = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})
        INSERT INTO identity (name, realm, seed, algorithm, digits, period, state, created, updated)
            SELECT 'n' || i, 'many', CAST(X'01' || (SELECT id FROM sealing_key) || zeroblob(60) AS BLOB),
                'SHA1', 6, 30, 'enabled', 1, 1 FROM n"
    );
    database.execute(&insert, ()).unwrap();
    database
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .unwrap();
    database
        .execute_batch(
            "INSERT INTO sealing_key VALUES (X'0102030405060708', 'retiring');
            UPDATE identity SET seed = X'00', previous_seed = X'010102030405060708' WHERE id = 7",
        )
        .unwrap();
    place
}

#[test]
fn copy_that_is_killed_has_copied_all_or_nothing_and_can_be_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("realmgate.key");
    let large = large(folder.path(), &key);
    let path = folder.path().join("two.db");
    for target in [Place::server(&key), Place::file(&path, &key)] {
        let mut child = copying(&large, &target, &["--apply"]).spawn().unwrap();
        until("it has begun", || match &target.schema {
            Some(_) => {
                let sql = "SELECT count(*) FROM pg_namespace WHERE nspname = current_schema()";
                sql_in(&target.config(), sql).trim() == "1"
            }
            None => fs::read_dir(folder.path()).unwrap().any(|it| {
                let name = it.unwrap().file_name();
                name.to_str().unwrap().ends_with(".realmgate-new") || name == "two.db"
            }),
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let left = target.count().unwrap_or(0);
        assert!(left == 0 || left == MANY, "{left}");
        if left == 0 {
            assert_eq!(copied(&large, &target, &["--apply"])["identities"], MANY);
        }
        assert_eq!(target.count(), Some(MANY));
        let checksum = |from: &Place, name: &str| {
            let nowhere = Place::file(&folder.path().join(name), &key);
            copied(from, &nowhere, &[])["checksum"].clone()
        };
        assert_eq!(checksum(&large, "x.db"), checksum(&target, "x.db"));
    }
    let names = fs::read_dir(folder.path()).unwrap();
    let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|it| it.contains("realmgate-new")).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn unusable_url_is_rejected_without_showing_it() {
    for (url, expected) in [
        (
            "one.db",
            "--from: expected sqlite:PATH or postgres://USER@HOST/DATABASE",
        ),
        ("sqlite://one.db", "--from: expected sqlite:PATH"),
        (
            "postgres://a:canary@localhost/x",
            "--from: expected a URL without a password",
        ),
        (
            "sqlite:/nowhere/one.db",
            "database /nowhere/one.db: does not exist",
        ),
    ] {
        let args = ["store", "copy", "--from", url, "--to", "sqlite:two.db"];
        let output = realmgate(&args).output().unwrap();
        assert!(!output.status.success());
        let said = stderr(&output);
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn source_that_a_server_uses_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("realmgate.key");
    for (source, user) in [
        (Place::file(&folder.path().join("one.db"), &key), "process"),
        (Place::server(&key), "node"),
    ] {
        let gate = source.serve();
        gate.register("svc", "payments");
        let user = match user {
            "process" => format!("process {}", gate.child.id()),
            // The record is written after the start.
            _ => "node \"".to_owned(),
        };
        let target = Place::file(&folder.path().join("two.db"), &key);
        until("a dry run names it", || {
            let dry = copy(&source, &target, &[]);
            assert!(dry.status.success(), "{}", stderr(&dry));
            let found: Value = serde_json::from_slice(&dry.stdout).unwrap();
            let Some(used_by) = found["used_by"].as_str() else {
                return false;
            };
            assert!(used_by.starts_with(&user), "{found}");
            assert!(stderr(&dry).contains("before --apply"), "{}", stderr(&dry));
            true
        });
        let rejected = copy(&source, &target, &["--apply"]);
        let said: Value = serde_json::from_slice(&rejected.stderr).unwrap();
        let said = said["error"].as_str().unwrap();
        assert_eq!(rejected.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&format!(": {user}")) && said.contains("would be lost"),
            "{said}"
        );
        assert_eq!(target.count(), None);
        end(gate);
        assert_eq!(
            copied(&source, &target, &["--apply"])["used_by"],
            Value::Null
        );
        assert_eq!(target.count(), Some(1));
        fs::remove_file(folder.path().join("two.db")).unwrap();
    }
}

#[test]
fn summary_says_in_words_what_was_copied() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("realmgate.key");
    let source = Place::file(&folder.path().join("one.db"), &key);
    let gate = source.serve();
    let svc = gate.register("svc", "payments");
    let wrong = svc.fields_with(&svc.wrong_token());
    get(gate.service, "/forward-auth", &wrong);
    until("saved", || failures(&gate, &svc) == 1);
    end(gate);
    let to = format!("sqlite:{}", folder.path().join("two.db").display());
    let args = [
        "store",
        "copy",
        "--from",
        &source.url,
        "--to",
        &to,
        "--apply",
    ];
    let output = realmgate(&args)
        .env_remove("REALMGATE_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = "copied and compared: 1 identity with its last use, the used one-time tokens of 0 of them, and the failures of ";
    assert!(said.starts_with(expected), "{said}");
    assert!(
        said.contains("names and addresses\n") || said.contains("name or address\n"),
        "{said}"
    );
}
