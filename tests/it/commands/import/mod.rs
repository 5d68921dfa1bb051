//! Imports from the database of an ungleich-otp server.

mod postgres;
mod sqlite;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Caller, Gate, PATIENCE, get, realmgate, send, stderr, stdout, until};

/// The model when it was also Django's user model.
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

/// A Django database with these rows.
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
    // Sent before, so that the server has cached them as unknown.
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
fn dry_run_writes_nothing_not_even_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = django(folder.path(), &[(1, "n", "r", SEED)]);
    let before = fs::read(&path).unwrap();
    let output = realmgate(&["import", "django", path.to_str().unwrap(), "--verbose"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("n@r") && text.contains("  new\n"), "{text}");
    assert!(
        text.contains("1 rows: 1 would be imported, 0 already present, 0 skipped"),
        "{text}"
    );
    assert!(text.contains("--apply"), "{text}");
    assert!(!text.contains(SEED), "{text}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
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
fn rejected_rows_are_listed_with_the_reason() {
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
            (12, "root", " ungleich-admin", SEED),
            (13, "tiny", "r", "AA"),
            (14, "short", "r", "JBSWY3DP"),
            (15, "spaced", "r", "JBSW Y3DP EHPK 3PXP JBSW Y3DP"),
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
    assert_eq!(of(1), "the name begins or ends with white space");
    assert_eq!(of(2), json!([]));
    assert_eq!(of(3), "the name begins or ends with white space");
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
    assert_eq!(of(8), "the name contains a NUL character");
    assert_eq!(of(9), json!(["weak seed of 80 bits, rotate it"]));
    assert_eq!(of(10), json!(["may administer identities"]));
    assert_eq!(of(11), "the name begins or ends with white space");
    assert_eq!(of(12), "the realm begins or ends with white space");
    assert_eq!(of(13), "seed too short (8 bits)");
    assert_eq!(
        of(14),
        json!(["short seed of 40 bits, can be computed from a few tokens; rotate it now"])
    );
    assert_eq!(
        of(15),
        "the seed has spaces or hyphens, so the old server could not use it"
    );
    assert_eq!(report["incoming"], 5);
    assert_eq!(report["left_out"], 10);
    assert_eq!(identities(&gate).len(), 5);
}

/// ungleich-otp trimmed the names it received, so nobody could authenticate as `' ungleich-admin'`.
#[test]
fn row_of_an_untrimmed_admin_realm_makes_no_admin() {
    let gate = Gate::start("");
    let folder = tempfile::tempdir().unwrap();
    let path = django(
        folder.path(),
        &[
            (1, "root", " ungleich-admin", SEED),
            (2, "root", "ungleich-admin\t", SEED),
            (3, "auth", "\u{a0}ungleich-auth", SEED),
        ],
    );
    report(&import(&gate, path.to_str().unwrap(), &["--apply"]));
    assert_eq!(identities(&gate), [] as [Value; 0]);
    for realm in ["ungleich-admin", " ungleich-admin"] {
        let root = Caller {
            name: "root".into(),
            realm: realm.into(),
            seed: SEED.into(),
        };
        let list = get(gate.service, "/ungleichotp/", &root.fields());
        assert_eq!(list.status, 403, "{realm:?}");
    }
}

#[test]
fn existing_identity_is_never_overwritten() {
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
        "identity 1 has the same name and realm but another seed"
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
        json!(["disabled, because is_active is false (the old server ignored it)"])
    );
    let rows = identities(&gate);
    assert_eq!(
        (&rows[0]["state"], &rows[1]["state"]),
        (&json!("enabled"), &json!("disabled"))
    );
    assert_eq!(rows[0]["created"], 1_542_491_103);
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

#[test]
fn token_of_an_imported_identity_is_verified_over_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (auth, weak) = ("PZKBPTHDGSLZBKIZPZKBPTHDGSLZBKIZ", "pzkbpthdgslzbkiz");
    let rows = [
        (1, "verifier", "ungleich-auth", auth),
        (2, "svc", "r", weak),
    ];
    let path = django(folder.path(), &rows);
    // The parameters of new identities do not apply to imported ones.
    let gate = Gate::start("[totp]\nalgorithm = \"SHA256\"\ndigits = 8\nperiod = 60\n");
    report(&import(&gate, path.to_str().unwrap(), &["--apply"]));
    let [verifier, svc] = rows.map(|(_, name, realm, seed)| Caller {
        name: name.into(),
        realm: realm.into(),
        seed: seed.into(),
    });
    let verify = |token: &str| {
        let body = json!({ "name": svc.name, "realm": svc.realm, "token": token }).to_string();
        let fields = verifier.fields() + "Content-Type: application/json\r\n";
        send(gate.service, "POST", "/ungleichotp/verify/", &fields, &body).status
    };
    assert_eq!(verify(&svc.token()), 200);
    assert_eq!(verify(&svc.wrong_token()), 403);
}

#[test]
fn all_rows_are_imported_or_none() {
    let gate = Gate::start("");
    let store = Connection::open(gate.config().with_file_name("realmgate.db")).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON identity WHEN NEW.name = 'last'
                  BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    store.execute_batch(refuse).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = django(
        folder.path(),
        &[(1, "n", "r", SEED), (2, "last", "r", SEED)],
    );
    let output = import(&gate, path.to_str().unwrap(), &["--apply"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("not this one"),
        "{}",
        stderr(&output)
    );
    assert_eq!(stdout(&output), "");
    assert_eq!(identities(&gate), [] as [Value; 0]);
}

#[test]
fn number_that_leaves_no_next_one_is_not_kept() {
    let gate = Gate::start("");
    let folder = tempfile::tempdir().unwrap();
    let path = django(folder.path(), &[(i64::MAX, "n", "r", SEED)]);
    let report = report(&import(&gate, path.to_str().unwrap(), &["--apply"]));
    assert_eq!(report["rows"][0]["outcome"], "new_id");
    gate.register("next", "r");
}

#[test]
fn names_are_shown_in_columns_and_cannot_draw_on_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [(9, "a\x1b[2J\nb", "r", SEED), (1000, "\u{202e}n", "r", "1")];
    let path = django(folder.path(), &rows);
    let output = realmgate(&["import", "django", path.to_str().unwrap(), "--verbose"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(
        stdout(&output),
        concat!(
            "  id  name@realm       outcome\n",
            "   9  a\\u{1b}[2J\\nb@r  new\n",
            "1000  \\u{202e}n@r      skipped: ",
            "the seed is not base32 (letters A to Z and digits 2 to 7)\n",
            "2 rows: 1 would be imported, 0 already present, 1 skipped\n",
            "  1 × skipped: the seed is not base32 (letters A to Z and digits 2 to 7)\n",
            "dry run; use --apply to import\n",
        )
    );
}

#[test]
fn summary_counts_by_reason_and_prints_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = vec![(1, "bad", "r", "1"), (2, "worse", "r", "8")];
    let names: Vec<_> = (3..53).map(|at| format!("n{at}")).collect();
    rows.extend((3..).zip(&names).map(|(at, name)| (at, &**name, "r", SEED)));
    let path = django(folder.path(), &rows);
    let output = realmgate(&["import", "django", path.to_str().unwrap()])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(
        stdout(&output),
        concat!(
            "52 rows: 50 would be imported, 0 already present, 2 skipped\n",
            "  2 × skipped: the seed is not base32 (letters A to Z and digits 2 to 7)\n",
            "--verbose lists each row\n",
            "dry run; use --apply to import\n",
        )
    );
    assert_eq!(stderr(&output), "");
}

/// A Django database with this many rows, `n1` and so on.
fn many(folder: &Path, rows: i64) -> PathBuf {
    let path = django(folder, &[]);
    let mut database = Connection::open(&path).unwrap();
    let transaction = database.transaction().unwrap();
    for n in 1..=rows {
        let sql = "INSERT INTO otpauth_otpseed (id, name, realm, seed) VALUES (?1, ?2, 'many', ?3)";
        transaction
            .execute(sql, (n, format!("n{n}"), SEED))
            .unwrap();
    }
    transaction.commit().unwrap();
    path
}

fn count(database: &Connection) -> i64 {
    let sql = "SELECT count(*) FROM identity";
    database.query_row(sql, (), |row| row.get(0)).unwrap()
}

#[test]
fn identities_are_created_while_many_rows_come_in_and_all_keep_their_numbers() {
    const ROWS: i64 = 6000;
    let gate = Gate::start("");
    let admin = gate.register("root", "ungleich-admin");
    let folder = tempfile::tempdir().unwrap();
    let source = many(folder.path(), ROWS);
    // Its id is that of a row.
    assert_eq!(identities(&gate)[0]["id"], 1);
    let ended = AtomicBool::new(false);
    let database = Connection::open(gate.config().with_file_name("realmgate.db")).unwrap();
    let (output, created) = std::thread::scope(|scope| {
        let import = scope.spawn(|| {
            let output = import(&gate, source.to_str().unwrap(), &["--apply", "--verbose"]);
            ended.store(true, Ordering::SeqCst);
            output
        });
        until("some are here", || count(&database) > 1);
        let mut created = 0;
        while !ended.load(Ordering::SeqCst) {
            let began = Instant::now();
            let body = format!("{{\"name\":\"c{created}\",\"realm\":\"r\"}}");
            let fields = format!("Content-Type: application/json\r\n{}", admin.fields());
            let reply = send(gate.service, "POST", "/ungleichotp/", &fields, &body);
            assert_eq!(reply.status, 201, "{}", reply.body);
            assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
            created += 1;
        }
        (import.join().unwrap(), created)
    });
    assert!(created > 3, "{created}");
    let report = report(&output);
    assert_eq!(
        (&report["incoming"], &report["left_out"]),
        (&json!(ROWS), &json!(0))
    );
    let all = identities(&gate);
    let of = |realm: &str| {
        let ids = all.iter().filter(|it| it["realm"] == realm);
        ids.map(|it| it["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    let (kept, new): (Vec<_>, Vec<_>) = of("many").into_iter().partition(|&id| id <= ROWS);
    // All but the row whose id the administrator has.
    assert_eq!((kept.len() as i64, new.len()), (ROWS - 1, 1));
    assert_eq!(of("r").len(), created);
    assert!(of("r").iter().all(|&id| id > ROWS), "{:?}", of("r"));
}

#[test]
fn bulk_commands_wait_for_a_database_that_another_process_has_locked() {
    let gate = Gate::start("");
    let folder = tempfile::tempdir().unwrap();
    let source = many(folder.path(), 10);
    let list = folder.path().join("list");
    fs::write(&list, "new@r\n").unwrap();
    let run = |args: &[&str]| {
        realmgate(args)
            .arg("--config")
            .arg(gate.config())
            // A request would have given up.
            .env("REALMGATE_STORE_TIMEOUT", "100ms")
            .output()
            .unwrap()
    };
    let database = Connection::open(gate.config().with_file_name("realmgate.db")).unwrap();
    for args in [
        ["import", "django", source.to_str().unwrap(), "--apply"].as_slice(),
        &["identity", "create", "--from", list.to_str().unwrap()],
    ] {
        let before = count(&database);
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let output = std::thread::scope(|scope| {
            let running = scope.spawn(|| run(args));
            std::thread::sleep(Duration::from_secs(2));
            database.execute_batch("COMMIT").unwrap();
            running.join().unwrap()
        });
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        assert!(count(&database) > before, "{args:?}");
    }
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let output = run(&["identity", "create", "one@r"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

#[test]
fn killed_import_continues_with_the_next_run() {
    const ROWS: i64 = 5000;
    let gate = Gate::start("");
    let folder = tempfile::tempdir().unwrap();
    let source = many(folder.path(), ROWS);
    let database = Connection::open(gate.config().with_file_name("realmgate.db")).unwrap();
    let mut command = realmgate(&["import", "django"]);
    command
        .arg(&source)
        .args(["--apply", "--config"])
        .arg(gate.config());
    let mut child = command.spawn().unwrap();
    until("some are here", || count(&database) > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    let part = count(&database);
    assert!(part > 0 && part < ROWS, "{part}");
    let report = report(&import(&gate, source.to_str().unwrap(), &["--apply"]));
    assert_eq!(report["incoming"], ROWS - part);
    assert_eq!(report["unchanged"], part);
    assert_eq!(count(&database), ROWS);
}
