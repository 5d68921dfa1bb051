//! Imports from SQLite files, and errors for other files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::slice::from_ref;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{SEED, django};
use crate::harness::{PATIENCE, realmgate, stderr, stdout};

/// Runs a dry run on a file from its directory. Returns the output.
fn look(path: &Path, store: &Path) -> String {
    let output = realmgate(&["import", "django", path.to_str().unwrap(), "--verbose"])
        .current_dir(store)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

/// Puts a database in WAL mode. As long as the connection lives, its writes stay in the log.
fn log_ahead(path: &Path) -> Connection {
    let database = Connection::open(path).unwrap();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    database
        .pragma_update(None, "wal_autocheckpoint", 0)
        .unwrap();
    database
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn rows_in_the_log_of_a_running_server_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = django(folder.path(), &[(1, "old", "r", SEED)]);
    let server = log_ahead(&path);
    let sql = "INSERT INTO otpauth_otpseed (name, realm, seed) VALUES ('late', 'r', ?1)";
    server.execute(sql, [SEED]).unwrap();
    let text = look(&path, folder.path());
    assert!(text.contains("2  late@r"), "{text}");
}

#[test]
fn copy_without_its_log_is_read_and_nothing_is_made_beside_it() {
    // The name has a special meaning in a URI.
    let folder = tempfile::Builder::new()
        .prefix("a?b#c%41 d")
        .tempdir()
        .unwrap();
    let path = django(folder.path(), &[(1, "n", "r", SEED)]);
    drop(log_ahead(&path));
    assert_eq!(files(folder.path()), from_ref(&path));
    let before = fs::read(&path).unwrap();
    let text = look(&path, folder.path());
    assert!(text.contains("1  n@r"), "{text}");
    assert_eq!(files(folder.path()), from_ref(&path));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn journal_that_must_be_rolled_back_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = django(folder.path(), &[(1, "n", "r", SEED)]);
    let server = Connection::open(&path).unwrap();
    server
        .execute_batch(
            "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO otpauth_otpseed (name, realm, seed) SELECT 'n' || i, 'r', 's' FROM n",
        )
        .unwrap();
    // A crash in the middle of a write: the file with its journal, unlocked.
    let crashed = folder.path().join("crashed.sqlite3");
    fs::copy(&path, &crashed).unwrap();
    let journal = |path: &Path| PathBuf::from(format!("{}-journal", path.display()));
    fs::copy(journal(&path), journal(&crashed)).unwrap();
    let output = realmgate(&["import", "django", crashed.to_str().unwrap()])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = stderr(&output);
    assert!(error.contains("has a log or a journal"), "{error}");
}

#[test]
fn database_that_is_not_of_ungleich_otp_is_reported_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(
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
        (path("."), 2, "cannot be read: is a directory"),
        (path("text"), 2, "text: not an SQLite database"),
        (path("other"), 2, "no table otpauth_otpseed"),
        (path("older"), 2, "has no column \"realm\""),
        ("mysql://h/d".into(), 2, "unsupported kind of database"),
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

/// Runs a dry run. Returns exit code, duration and output.
fn ended(path: &Path, more: &[&str]) -> (i32, Duration, String) {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let output = realmgate(&["import", "django", path.to_str().unwrap()])
        .args(more)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let code = output.status.code().unwrap();
    (code, began.elapsed(), stderr(&output))
}

#[test]
fn endless_view_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
    let columns = "i AS id, 'n' || i AS name, 'r' AS realm, 'AAAAAAAAAAAAAAAA' AS seed";
    for (name, select, code, says) in [
        (
            "rows",
            format!("{numbers} SELECT {columns} FROM n"),
            2,
            "more than 1000000 rows",
        ),
        (
            "none",
            format!("{numbers} SELECT {columns} FROM n WHERE i < 0"),
            3,
            "could not be read within 2s",
        ),
        // One of the two limits is exceeded first.
        (
            "sorted",
            format!("{numbers} SELECT {columns} FROM n ORDER BY 2"),
            2,
            "out of memory",
        ),
        (
            "wide",
            format!(
                "{numbers} SELECT i AS id, zeroblob(900000000) AS name, 'r' AS realm, '' AS seed FROM n"
            ),
            2,
            "string or blob too big",
        ),
    ] {
        let path = folder.path().join(name);
        let database = Connection::open(&path).unwrap();
        database
            .execute_batch(&format!("CREATE VIEW otpauth_otpseed AS {select}"))
            .unwrap();
        let timeout = if code == 3 { "2" } else { "60" };
        let (ended, took, text) = ended(&path, &["--timeout", timeout]);
        assert_eq!(ended, code, "{name}: {text}");
        assert!(text.contains(says), "{name}: {text}");
        assert!(took < 3 * PATIENCE, "{name}: {took:?}");
    }
}

#[test]
fn pipe_in_the_place_of_the_file_or_beside_it_is_rejected_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = django(folder.path(), &[(1, "n", "r", SEED)]);
    let pipe = |end: &str| {
        let pipe = format!("{}{end}", path.display());
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        pipe
    };
    for end in ["-journal", "-wal", "-shm", ".pipe"] {
        let pipe = pipe(end);
        let asked = if end == ".pipe" {
            Path::new(&pipe)
        } else {
            &path
        };
        let (code, took, text) = ended(asked, &[]);
        assert_eq!(code, 2, "{end}: {text}");
        assert!(
            text.contains(&format!("{pipe}: not a regular file")),
            "{text}"
        );
        assert!(took < PATIENCE, "{end}: {took:?}");
        fs::remove_file(pipe).unwrap();
    }
    let (code, _, text) = ended(&path, &[]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn more_rows_than_allowed_are_reported_and_as_many_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [(1, "a", "r", SEED), (2, "b", "r", SEED)];
    let path = django(folder.path(), &rows);
    let (code, _, text) = ended(&path, &["--max-rows", "1"]);
    assert_eq!(code, 2);
    assert!(text.contains("the table has more than 1 rows"), "{text}");
    assert_eq!(ended(&path, &["--max-rows", "2"]).0, 0);
}
