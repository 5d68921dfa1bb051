//! Key management for an SQLite file.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior};

use super::changes::trim;
use super::rows::count;
use crate::key_tables::{
    Batch, KeyRole, KeyTables, Named, Renewed, Sealed, SealedRow, SealingError,
};
use crate::seal::KeyId;

/// The number of rows per transaction.
const BATCH: u32 = 64;

/// The rows with seeds encrypted with another key than the first parameter.
const PENDING: &str = "(substr(seed, 2, 8) <> ?1 OR substr(previous_seed, 2, 8) <> ?1)";

/// A connection of its own.
pub(crate) struct SqliteKeys(pub(crate) Connection);

impl SqliteKeys {
    fn begin(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.0
            .transaction_with_behavior(TransactionBehavior::Immediate)
    }
}

impl KeyTables for SqliteKeys {
    fn named(&mut self) -> Result<Named, SealingError> {
        Ok(named(&self.0)?)
    }

    fn seeds(&mut self) -> Result<Sealed, SealingError> {
        let sql = "SELECT seeds, key FROM seed_count WHERE length(key) = 8";
        let counted = |row: &Row<'_>| Ok((KeyId(row.get(1)?), count(row)?));
        let counted: rusqlite::Result<_> = self.0.prepare(sql)?.query_map((), counted)?.collect();
        Ok(counted?)
    }

    fn each(&mut self, visit: &mut dyn FnMut(&SealedRow)) -> Result<(), SealingError> {
        let sql = "SELECT id, name, realm, seed, previous_seed FROM identity ORDER BY id";
        let mut statement = self.0.prepare(sql)?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            visit(&sealed_row(row)?);
        }
        Ok(())
    }

    fn announce(&mut self, id: KeyId) -> Result<(), SealingError> {
        let transaction = self.begin()?;
        transaction.execute(
            "DELETE FROM sealing_key WHERE state = 'announced' AND id <> ?1",
            (id.0,),
        )?;
        transaction.execute(
            "INSERT OR IGNORE INTO sealing_key (id, state) VALUES (?1, 'announced')",
            (id.0,),
        )?;
        transaction.execute("DELETE FROM key_missing", ())?;
        Ok(transaction.commit()?)
    }

    fn withdraw(&mut self, id: KeyId) -> Result<(), SealingError> {
        let sql = "DELETE FROM sealing_key WHERE state = 'announced' AND id = ?1";
        self.0.execute(sql, (id.0,))?;
        Ok(())
    }

    fn heed(&mut self, id: KeyId) -> Result<(), SealingError> {
        heed(&self.0, id)
    }

    fn switch(&mut self, id: KeyId) -> Result<(), SealingError> {
        let transaction = self.begin()?;
        heed(&transaction, id)?;
        transaction.execute(
            "UPDATE sealing_key SET state = 'retiring' WHERE state = 'current' AND id <> ?1",
            (id.0,),
        )?;
        transaction.execute(
            "UPDATE sealing_key SET state = 'current' WHERE id = ?1 AND state <> 'current'",
            (id.0,),
        )?;
        Ok(transaction.commit()?)
    }

    fn pending(&mut self, id: KeyId) -> Result<u64, SealingError> {
        let sql = format!("SELECT count(*) FROM identity WHERE {PENDING}");
        Ok(self.0.query_row(&sql, (id.0,), count)?)
    }

    fn reseal(
        &mut self,
        id: KeyId,
        after: i64,
        renew: &mut dyn FnMut(&SealedRow) -> Result<Option<Renewed>, SealingError>,
    ) -> Result<Batch, SealingError> {
        let transaction = self.begin()?;
        heed(&transaction, id)?;
        let rows = pending(&transaction, id, after)?;
        let mut resealed = 0;
        for row in &rows {
            if let Some(new) = renew(row)? {
                resealed += 1;
                transaction
                    .prepare_cached(
                        "UPDATE identity SET seed = coalesce(?2, seed),
                            previous_seed = coalesce(?3, previous_seed) WHERE id = ?1",
                    )?
                    .execute((row.id, new.seed, new.previous))?;
            }
        }
        trim(&transaction)?;
        transaction.commit()?;
        Ok(Batch {
            rows: rows.len() as u64,
            resealed,
            last: rows.last().map(|row| row.id),
        })
    }

    fn settle(&mut self) -> Result<(Vec<KeyId>, Vec<KeyId>), SealingError> {
        let transaction = self.begin()?;
        let seeds = seeds(&transaction)?;
        let retiring = named(&transaction)?;
        let retiring = retiring
            .into_iter()
            .filter(|it| it.1 == KeyRole::Retiring)
            .map(|it| it.0);
        let (kept, retired): (Vec<_>, Vec<_>) = retiring.partition(|id| seeds.contains_key(id));
        for id in &retired {
            transaction.execute("DELETE FROM sealing_key WHERE id = ?1", (id.0,))?;
        }
        transaction.execute("DELETE FROM key_missing", ())?;
        transaction.commit()?;
        Ok((retired, kept))
    }

    fn alone(
        &mut self,
        work: &mut dyn FnMut(Named, Sealed) -> Result<(), SealingError>,
    ) -> Result<(), SealingError> {
        let transaction = self.begin()?;
        work(named(&transaction)?, seeds(&transaction)?)?;
        // A commit makes every process check its keys.
        transaction.execute("UPDATE sealing_key SET state = state", ())?;
        Ok(transaction.commit()?)
    }
}

/// Reads `id, name, realm, seed, previous_seed`. A name that is not UTF-8 is changed, so that its seeds
/// do not decrypt: one such row must not stop the others.
fn sealed_row(row: &Row<'_>) -> rusqlite::Result<SealedRow> {
    let text = |at| match row.get_ref(at)? {
        ValueRef::Text(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        _ => row.get(at),
    };
    Ok(SealedRow {
        id: row.get(0)?,
        name: text(1)?,
        realm: text(2)?,
        seed: row.get(3)?,
        previous: row.get(4)?,
    })
}

fn pending(
    transaction: &Transaction<'_>,
    key: KeyId,
    after: i64,
) -> rusqlite::Result<Vec<SealedRow>> {
    let sql = format!(
        "SELECT id, name, realm, seed, previous_seed FROM identity WHERE id > ?2 AND {PENDING}
            ORDER BY id LIMIT ?3"
    );
    transaction
        .prepare_cached(&sql)?
        .query_map((key.0, after, BATCH), sealed_row)?
        .collect()
}

/// Fails if a process has objected because it lacks the key.
fn heed(connection: &Connection, key: KeyId) -> Result<(), SealingError> {
    let mut said = connection.prepare_cached("SELECT process FROM key_missing WHERE key = ?1")?;
    match said.query_map((key.0,), |row| row.get(0))?.next() {
        None => Ok(()),
        Some(process) => {
            let process: i64 = process?;
            let process = process.to_string().into();
            Err(SealingError::Missing { process, key })
        }
    }
}

/// Returns the keys that the database names.
fn named(connection: &Connection) -> rusqlite::Result<Named> {
    connection
        .prepare("SELECT id, state FROM sealing_key ORDER BY state, id")?
        .query_map((), |row| {
            let role = match row.get_ref(1)?.as_str()? {
                "announced" => KeyRole::Announced,
                "current" => KeyRole::Current,
                _ => KeyRole::Retiring,
            };
            Ok((KeyId(row.get(0)?), role))
        })?
        .collect()
}

/// Counts the seeds encrypted with each key.
fn seeds(connection: &Connection) -> rusqlite::Result<Sealed> {
    // A value too short for a key ID counts as not encrypted.
    connection
        .prepare(
            "SELECT count(*), key FROM (
                SELECT substr(seed, 2, 8) AS key FROM identity
                UNION ALL SELECT substr(previous_seed, 2, 8) FROM identity)
            WHERE length(key) = 8 GROUP BY key",
        )?
        .query_map((), |row| Ok((KeyId(row.get(1)?), count(row)?)))?
        .collect()
}
