use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::{Cached, Options, open};
use realmgate_core::{
    Administration, Identities, NewIdentity, Parameters, Principal, Seed, Terms, UnixTime,
};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

fn options(dir: &Path) -> Options {
    Options::of_file(dir.join("r.db"))
}

async fn create(store: &Cached, name: &str) {
    let new = NewIdentity {
        principal: Principal::new(name, "r", 128).unwrap(),
        seed: Seed::from_bytes(b"canary-canary-canary").unwrap(),
        parameters: Parameters::default(),
        terms: Terms::default(),
    };
    store.create(new, NOW).await.unwrap();
}

async fn error(dir: &Path) -> OpenError {
    match open(options(dir), Intent::Begin).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[test]
fn migrations_are_sound_and_counted() {
    MIGRATIONS.validate().unwrap();
    let mut connection = Connection::open_in_memory().unwrap();
    MIGRATIONS.to_latest(&mut connection).unwrap();
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, SCHEMAS);
}

#[tokio::test]
async fn files_are_private_and_hold_no_seed_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    create(&store, "a").await;
    let mut files = 0;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        let content = fs::read(&path).unwrap();
        assert!(!content.windows(6).any(|window| window == b"canary"));
        files += 1;
    }
    assert_eq!(files, 4, "database, log, shared memory and key");
}

#[tokio::test]
async fn file_of_another_kind_is_rejected_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.db");
    let text = "these are notes, not a database\n".repeat(100);
    fs::write(&path, &text).unwrap();
    let error = error(dir.path()).await;
    assert_eq!(
        error.to_string(),
        format!("database {}: is not an SQLite database", path.display())
    );
    assert!(error.is_configuration());
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert!(!dir.path().join("r.key").exists());
}

#[tokio::test]
async fn database_of_another_program_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let connection = Connection::open(dir.path().join("r.db")).unwrap();
    connection.execute("CREATE TABLE notes (text)", ()).unwrap();
    assert!(matches!(error(dir.path()).await, OpenError::NotOurs(_)));
}

#[tokio::test]
async fn schema_of_a_later_version_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(options(dir.path()), Intent::Begin).await.unwrap());
    let connection = Connection::open(dir.path().join("r.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(
        error(dir.path()).await,
        OpenError::TooNew { found: 99, .. }
    ));
}

#[tokio::test]
async fn key_that_does_not_fit_is_named_with_the_one_that_would() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(options(dir.path()), Intent::Begin).await.unwrap());
    let key_file = dir.path().join("r.key");
    let first = |keys: &Keys| keys.ids().next().unwrap();
    let right = first(&key_file::read(&key_file).unwrap().unwrap());
    fs::remove_file(&key_file).unwrap();
    assert_eq!(
        error(dir.path()).await.to_string(),
        format!(
            "key file {}: does not exist, but the seeds in database {} are encrypted with key {right}",
            key_file.display(),
            dir.path().join("r.db").display()
        )
    );
    assert!(!key_file.exists());
    let wrong = first(&key_file::create(&key_file).unwrap());
    assert_eq!(
        error(dir.path()).await.to_string(),
        format!(
            "key file {}: holds key {wrong}, but the seeds in database {} are encrypted with key {right}",
            key_file.display(),
            dir.path().join("r.db").display()
        )
    );
}

#[tokio::test]
async fn old_schema_is_not_brought_up_to_date_without_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.db");
    let mut connection = Connection::open(&path).unwrap();
    MIGRATIONS.to_version(&mut connection, 2).unwrap();
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .unwrap();
    connection
        .execute("INSERT INTO sealing_key VALUES (x'0102030405060708')", ())
        .unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    key_file::create(&dir.path().join("r.key")).unwrap();
    assert!(matches!(
        error(dir.path()).await,
        OpenError::KeyMismatch { .. }
    ));
    assert!(fs::read(&path).unwrap() == before);
}

#[tokio::test]
async fn old_schema_keeps_its_key_as_the_current_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = Connection::open(dir.path().join("r.db")).unwrap();
    MIGRATIONS.to_version(&mut connection, 2).unwrap();
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .unwrap();
    let key = key_file::create(&dir.path().join("r.key")).unwrap();
    let id = key.ids().next().unwrap();
    connection
        .execute("INSERT INTO sealing_key VALUES (?1)", (id.0,))
        .unwrap();
    drop(connection);
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    create(&store, "a").await;
    let who = Principal::new("a", "r", 128).unwrap();
    let read = store.identity(who.as_ref()).await.unwrap().unwrap();
    assert!(read.seed().is_some());
}

#[tokio::test]
async fn two_first_starts_at_once_end_with_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = tokio::join!(
        open(options(dir.path()), Intent::Begin),
        open(options(dir.path()), Intent::Begin)
    );
    create(&one.unwrap(), "a").await;
    let other = other.unwrap();
    let who = Principal::new("a", "r", 128).unwrap();
    let read = other.identity(who.as_ref()).await.unwrap().unwrap();
    assert!(read.seed().is_some());
}

#[tokio::test]
async fn sealed_seed_moved_to_another_row_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    create(&store, "a").await;
    create(&store, "b").await;
    let connection = Connection::open(dir.path().join("r.db")).unwrap();
    connection
        .execute(
            "UPDATE identity SET seed = (SELECT seed FROM identity WHERE name = 'a') WHERE name = 'b'",
            (),
        )
        .unwrap();
    let who = Principal::new("b", "r", 128).unwrap();
    let read = store.identity(who.as_ref()).await.unwrap().unwrap();
    assert!(read.seed().is_none());
}
