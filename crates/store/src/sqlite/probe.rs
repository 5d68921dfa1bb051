//! Checks whether the database can serve requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::Connection;
use rustix::fs::{StatVfsMountFlags, statvfs};

use super::changes::last_seq;
use super::query::Sqlite;
use super::rows::TABLES;
use crate::atomic_file::folder_of;
use crate::key_ring::KeyRing;
use crate::record::COLUMNS;
use crate::seal::KeyId;
use realmgate_core::{ChangeError, StoreError};

/// Queries for the first row of each table and index that requests use.
const FIRSTS: [&str; 6] = [
    "SELECT 1 FROM identity INDEXED BY identity_by_name LIMIT 1",
    "SELECT 1 FROM identity INDEXED BY identity_by_realm LIMIT 1",
    "SELECT 1 FROM change LIMIT 1",
    "SELECT 1 FROM spent LIMIT 1",
    "SELECT 1 FROM throttle LIMIT 1",
    "SELECT 1 FROM sealing_key LIMIT 1",
];

impl Sqlite {
    /// Reads as requests do, and checks that writes work. Writes only if the last write failed.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        self.watch.look()?;
        let ring = Arc::clone(&self.ring);
        let missing = self.read(move |connection| {
            let snapshot = connection.transaction()?;
            read_somewhere(&snapshot)?;
            missing_key(&snapshot, &ring)
        });
        if let Some(key) = missing.await? {
            return Err(StoreError::MissingKey(key.to_string().into()));
        }
        let folder = folder_of(self.watch.path());
        let is_read_only =
            statvfs(folder).is_ok_and(|it| it.f_flag.contains(StatVfsMountFlags::RDONLY));
        if is_read_only {
            let text = format!("{} is on a read-only file system", folder.display());
            return Err(StoreError::Database(text.into()));
        }
        if !self.writes_fail.load(Ordering::Relaxed) {
            return Ok(());
        }
        let written = self.write(|transaction| {
            let sql = "UPDATE throttle_key SET key = key";
            transaction.execute(sql, ()).map(drop)
        });
        match written.await {
            Ok(()) => Ok(()),
            Err(ChangeError::Store(error)) => Err(error),
            Err(ChangeError::Taken | ChangeError::Stale) => {
                Err(StoreError::Database("a write was rejected".into()))
            }
        }
    }
}

/// Returns a key that seeds need and this process does not have.
fn missing_key(snapshot: &Connection, ring: &KeyRing) -> rusqlite::Result<Option<KeyId>> {
    let mut named = snapshot.prepare_cached(
        "SELECT id, state = 'current' FROM sealing_key WHERE state <> 'announced'",
    )?;
    let mut named = named.query(())?;
    while let Some(row) = named.next()? {
        let id = KeyId(row.get(0)?);
        // The identities are searched only if a key is missing.
        if ring.find(id).is_none() && (row.get(1)? || is_used(snapshot, id)?) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Returns whether a seed is encrypted with a key.
fn is_used(snapshot: &Connection, key: KeyId) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM identity
        WHERE substr(seed, 2, 8) = ?1 OR substr(previous_seed, 2, 8) = ?1)";
    snapshot.query_row(sql, (key.0,), |row| row.get(0))
}

/// Reads a random identity by its name, as a request does, and the first rows of the other tables.
fn read_somewhere(connection: &Connection) -> rusqlite::Result<()> {
    last_seq(connection)?;
    let sql = format!(
        "SELECT {COLUMNS} FROM {TABLES} WHERE (realm, name) = (SELECT realm, name FROM identity WHERE id >=
            abs(random() % (1 + ifnull((SELECT max(id) FROM identity), 0))) ORDER BY id LIMIT 1)"
    );
    for sql in FIRSTS.into_iter().chain([&*sql]) {
        let mut statement = connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            (0..columns).try_for_each(|at| row.get_ref(at).map(drop))?;
        }
    }
    Ok(())
}
