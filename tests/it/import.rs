//! Importing the database of an ungleich-otp server: SQLite files in the shape that Django makes them,
//! and a PostgreSQL of the test's own.

use std::path::{Path, PathBuf};
use std::process::Output;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Caller, Gate, get, realmgate, stderr, stdout, until};
use crate::postgres::Postgres;

/// The model as it was when it was Django's user at once.
const USER_MODEL: &str = "CREATE TABLE otpauth_otpseed (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT, password varchar(128) NOT NULL,
    last_login datetime NULL, is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE,
    first_name varchar(30) NOT NULL, last_name varchar(150) NOT NULL, email varchar(254) NOT NULL,
    is_staff bool NOT NULL, is_active bool NOT NULL, date_joined datetime NOT NULL,
    name varchar(128) NOT NULL, realm varchar(128) NOT NULL, seed varchar(128) NOT NULL,
    UNIQUE (name, realm))";
const PLAIN_MODEL: &str = "CREATE TABLE otpauth_otpseed (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT, name varchar(128) NOT NULL,
    realm varchar(128) NOT NULL, seed varchar(128) NOT NULL, UNIQUE (name, realm))";

const SEED: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

/// A Django database with the rows.
fn django(folder: &Path, rows: &[(i64, &str, &str, &str)]) -> PathBuf {
    let path = folder.join("db.sqlite3");
    let database = Connection::open(&path).unwrap();
    database.execute_batch(PLAIN_MODEL).unwrap();
    for row in rows {
        let sql = "INSERT INTO otpauth_otpseed (id, name, realm, seed) VALUES (?1, ?2, ?3, ?4)";
        database.execute(sql, *row).unwrap();
    }
    path
}

fn import(gate: &Gate, source: &str, more: &[&str]) -> Output {
    gate.run(&[&["import", "django", source], more].concat())
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns every identity without the time of its last change.
fn identities(gate: &Gate) -> Vec<Value> {
    let rows = stdout(&gate.run(&["identity", "list"]));
    let rows = rows.lines().map(|line| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row.as_object_mut().unwrap().remove("updated");
        row
    });
    rows.collect()
}

#[test]
fn imported_identities_keep_their_numbers_and_prove_themselves_at_once() {
    let gate = Gate::start("");
    let folder = tempfile::tempdir().unwrap();
    let rows = [
        (7, "admin", "ungleich-admin", SEED),
        (40, "svc", "payments", "PZKBPTHDGSLZBKIZPZKBPTHDGSLZBKIZ"),
    ];
    let path = django(folder.path(), &rows);
    let callers = rows.map(|(_, name, realm, seed)| Caller {
        name: name.into(),
        realm: realm.into(),
        seed: seed.into(),
    });
    // Asked before, so that the server remembers them as unknown.
    for caller in &callers {
        assert_eq!(
            get(gate.service, "/forward-auth", &caller.fields()).status,
            401
        );
    }
    let report = report(&import(&gate, path.to_str().unwrap(), &["--apply"]));
    assert_eq!(report["applied"], true);
    assert_eq!(report["incoming"], 2);
    for caller in &callers {
        until("the server has noticed", || {
            get(gate.service, "/forward-auth", &caller.fields()).status == 200
        });
    }
    let list = get(gate.service, "/ungleichotp/", &callers[0].fields());
    assert_eq!(
        list.body,
        r#"[{"id":7,"name":"admin","realm":"ungleich-admin"},{"id":40,"name":"svc","realm":"payments"}]"#
    );
    let next = gate.run(&["identity", "create", "--name", "n", "--realm", "r"]);
    let next: Value = serde_json::from_slice(&next.stdout).unwrap();
    assert_eq!(next["id"], 41);
}

#[test]
fn look_writes_nothing_not_even_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = django(folder.path(), &[(1, "n", "r", SEED)]);
    let before = std::fs::read(&path).unwrap();
    let output = realmgate(&["import", "django", path.to_str().unwrap()])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("n@r") && text.contains("comes in"), "{text}");
    assert!(
        text.contains("1 rows: 1 would come in, 0 were here already, 0 stay out"),
        "{text}"
    );
    assert!(text.contains("--apply"), "{text}");
    assert!(!text.contains(SEED), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn second_run_changes_nothing() {
    let gate = Gate::start("");
    let folder = tempfile::tempdir().unwrap();
    let path = django(
        folder.path(),
        &[(1, "n", "r", SEED), (2, "broken", "r", "1")],
    );
    let first = report(&import(&gate, path.to_str().unwrap(), &["--apply"]));
    assert_eq!(
        (&first["incoming"], &first["left_out"]),
        (&json!(1), &json!(1))
    );
    let after = identities(&gate);
    let second = report(&import(&gate, path.to_str().unwrap(), &["--apply"]));
    assert_eq!(
        (&second["incoming"], &second["unchanged"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(identities(&gate), after);
}

#[test]
fn rows_that_cannot_come_in_are_named_with_the_reason() {
    let gate = Gate::start("");
    let folder = tempfile::tempdir().unwrap();
    let long = "é".repeat(129);
    let fits = "é".repeat(128);
    let path = django(
        folder.path(),
        &[
            (1, " dup", "r", SEED),
            (2, "dup", "r", SEED),
            (3, "dup\n", "r", SEED),
            (4, &long, "r", SEED),
            (5, &fits, "r", SEED),
            (6, "broken", "r", "not base32!"),
            (7, "empty", "r", ""),
            (8, "nul\0", "r", SEED),
            (9, "weak", "r", "pzkbpthdgslzbkiz"),
            (10, "root", "ungleich-admin", SEED),
            (11, "  ", "r", SEED),
        ],
    );
    let report = report(&import(&gate, path.to_str().unwrap(), &["--apply"]));
    let of = |id: usize| {
        let row = &report["rows"][id - 1];
        assert_eq!(row["id"], id);
        row["reason"]
            .as_str()
            .map_or_else(|| row["notes"].clone(), Value::from)
    };
    assert_eq!(of(1), "the same name and realm as row 2");
    assert_eq!(of(2), json!([]));
    assert_eq!(of(3), "the same name and realm as row 2");
    assert_eq!(
        of(4),
        "the name has 129 characters, at most 128 are allowed"
    );
    assert_eq!(of(5), json!([]));
    assert_eq!(
        of(6),
        "the seed is not base32 (letters A to Z and digits 2 to 7)"
    );
    assert_eq!(of(7), "the seed is empty");
    assert_eq!(of(8), "the name holds a NUL character");
    assert_eq!(of(9), json!(["weak seed of 80 bits, rotate it"]));
    assert_eq!(of(10), json!(["may administer identities"]));
    assert_eq!(of(11), "the name is empty");
    assert_eq!(report["incoming"], 4);
    assert_eq!(report["left_out"], 7);
    assert_eq!(identities(&gate).len(), 4);
}

#[test]
fn what_is_here_already_is_never_overwritten() {
    let gate = Gate::start("");
    let here = gate.register("svc", "r");
    gate.register("other", "r");
    let folder = tempfile::tempdir().unwrap();
    let rows = [
        (1, "svc", "r", SEED),
        (2, "new", "r", SEED),
        (3, "third", "r", SEED),
    ];
    let path = django(folder.path(), &rows);
    let report = report(&import(&gate, path.to_str().unwrap(), &["--apply"]));
    assert_eq!(
        report["rows"][0]["reason"],
        "identity 1 here has that name and realm and another seed"
    );
    assert_eq!(report["rows"][1]["outcome"], "new_id");
    assert_eq!(report["rows"][2]["outcome"], "new");
    assert_eq!(
        get(gate.service, "/forward-auth", &here.fields()).status,
        200
    );
    let ids: Vec<_> = identities(&gate)
        .iter()
        .map(|it| {
            (
                it["id"].as_i64().unwrap(),
                it["name"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let expected = [(1, "svc"), (2, "other"), (3, "third"), (4, "new")];
    assert_eq!(ids, expected.map(|(id, name)| (id, name.to_owned())));
}

#[test]
fn users_of_django_bring_their_state_and_their_date() {
    let gate = Gate::start("");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sqlite3");
    let database = Connection::open(&path).unwrap();
    database.execute_batch(USER_MODEL).unwrap();
    for (id, name, active) in [(1, "on", 1), (2, "off", 0)] {
        database
            .execute(
                "INSERT INTO otpauth_otpseed VALUES
                   (?1, '!', NULL, 0, ?2 || '@r', '', '', '', 0, ?3, '2018-11-17 21:45:03.123456', ?2, 'r', ?4)",
                (id, name, active, SEED),
            )
            .unwrap();
    }
    let report = report(&import(&gate, path.to_str().unwrap(), &["--apply"]));
    assert_eq!(
        report["rows"][1]["notes"],
        json!(["disabled, as is_active was off"])
    );
    let rows = identities(&gate);
    assert_eq!(
        (&rows[0]["state"], &rows[1]["state"]),
        (&json!("enabled"), &json!("disabled"))
    );
    assert_eq!(rows[0]["created"], 1_542_491_103);
}

#[test]
fn database_that_is_none_of_ungleich_otp_is_told_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(
        path("text"),
        "no database, but long enough to be taken for one at first sight: ".repeat(30),
    )
    .unwrap();
    Connection::open(path("other"))
        .unwrap()
        .execute_batch("CREATE TABLE t (a)")
        .unwrap();
    Connection::open(path("older"))
        .unwrap()
        .execute_batch("CREATE TABLE otpauth_otpseed (id integer, name text, seed text)")
        .unwrap();
    for (source, code, message) in [
        (path("missing"), 2, "missing: no such file"),
        (path("text"), 2, "text: not an SQLite database"),
        (path("other"), 2, "no table otpauth_otpseed"),
        (path("older"), 2, "has no column \"realm\""),
        ("mysql://h/d".into(), 2, "this kind of database is not read"),
        (
            "postgres://u:geheim@127.0.0.1:1/d".into(),
            3,
            "PostgreSQL at 127.0.0.1 port 1 cannot be reached",
        ),
        (
            "postgres://u:geheim@h:p/d".into(),
            2,
            "the URL cannot be read",
        ),
    ] {
        let output = realmgate(&["import", "django", &source])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(message), "{error}");
        assert!(!error.contains("geheim"), "{error}");
    }
}

#[test]
fn postgresql_is_read_by_its_url() {
    let postgres = Postgres::start();
    postgres.sql(
        &USER_MODEL
            .replace(
                "integer NOT NULL PRIMARY KEY AUTOINCREMENT",
                "serial PRIMARY KEY",
            )
            .replace("datetime", "timestamptz")
            .replace("bool", "boolean"),
    );
    postgres.sql(&format!(
        "INSERT INTO otpauth_otpseed VALUES
           (3, '!', NULL, false, 'a', '', '', '', false, true, '2018-11-17 21:45:03.5+00', 'svc', 'payments', '{SEED}'),
           (9, '!', NULL, false, 'b', '', '', '', false, false, '2018-11-17 21:45:03+00', ' off ', 'r', '{SEED}')"
    ));
    let gate = Gate::start("");
    let report = report(&import(&gate, &postgres.url(), &["--apply"]));
    assert_eq!(
        report["rows"][1]["notes"],
        json!([
            "disabled, as is_active was off",
            "white space around it cut off"
        ])
    );
    let rows = identities(&gate);
    assert_eq!(
        (&rows[0]["id"], &rows[0]["created"]),
        (&json!(3), &json!(1_542_491_103))
    );
    let caller = Caller {
        name: "svc".into(),
        realm: "payments".into(),
        seed: SEED.into(),
    };
    until("the server has noticed", || {
        get(gate.service, "/forward-auth", &caller.fields()).status == 200
    });
    let plain = format!(
        "DROP TABLE otpauth_otpseed; {}",
        PLAIN_MODEL.replace(
            "integer NOT NULL PRIMARY KEY AUTOINCREMENT",
            "bigserial PRIMARY KEY"
        )
    );
    postgres.sql(&plain);
    postgres.sql(&format!(
        "INSERT INTO otpauth_otpseed (name, realm, seed) VALUES ('x', 'y', '{SEED}')"
    ));
    let report = self::report(&import(&gate, &postgres.url(), &[]));
    assert_eq!(report["incoming"], 1);
}

#[test]
fn ten_thousand_rows_come_in_at_once() {
    let gate = Gate::start("");
    let folder = tempfile::tempdir().unwrap();
    let path = django(folder.path(), &[]);
    Connection::open(&path).unwrap().execute_batch(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
         INSERT INTO otpauth_otpseed (id, name, realm, seed) SELECT i, 'n' || i, 'r', '{SEED}' FROM n"
    )).unwrap();
    let report = report(&import(&gate, path.to_str().unwrap(), &["--apply"]));
    assert_eq!(report["incoming"], 10_000);
}
