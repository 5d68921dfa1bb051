//! Key rotation: re-encrypts all seeds while the database is in use.
//!
//! The new key is added to the key file first, so that every process can read it. Then it is
//! announced in the database: processes look for it, and a process that lacks it objects
//! (`key_missing`). Then it becomes the current key, with which all writers encrypt from that
//! moment. Old rows are re-encrypted in small transactions. An interrupted rotation is continued by
//! the next run.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::changes::trim;
use super::commit::Patience;
use super::identities::Sqlite;
use super::rows::{conversion, count};
use super::sealing::{Broken, KeyRole, SealedRow, Sealing, SealingError, named, seeds};
use crate::key_file::{self, Keys};
use crate::key_ring::{KeyRing, KeySource};
use crate::seal::{KeyId, SealError, SealingKey, key_of};

/// How long processes may object to a key: many times the poll interval of the change log.
const OBJECTIONS: Duration = Duration::from_secs(3);

/// The number of rows per transaction.
const BATCH: u32 = 64;

/// The minimum and maximum pause between transactions.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(250));

/// The progress of a rotation.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Processed rows.
    pub done: u64,
    /// Rows to process, counted at the start.
    pub total: u64,
}

/// The result of a rotation.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The current key.
    pub key: KeyId,
    /// The number of rows that this run has re-encrypted.
    pub resealed: u64,
    /// The seeds that do not decrypt. They were not changed.
    pub broken: Vec<Broken>,
    /// The former keys that no seed needs.
    pub retired: Vec<KeyId>,
    /// The former keys of seeds that do not decrypt.
    pub kept: Vec<KeyId>,
}

impl Sealing {
    /// Continues a rotation that has begun, or begins one: to the first key if that is not the
    /// current one, else to a new key.
    ///
    /// # Errors
    /// [`SealingError`]. Rows that were already re-encrypted stay so.
    pub fn rotate(&mut self, mut progress: impl FnMut(Progress)) -> Result<Rotated, SealingError> {
        let id = self.choose()?;
        let key = self.ring.find(id).ok_or(SealError::NotHeld(id))?;
        self.announce(id)?;
        self.listen(id)?;
        self.switch(id)?;
        let (resealed, broken) = self.reseal(&key, &mut progress)?;
        let (retired, kept) = self.settle()?;
        Ok(Rotated {
            key: id,
            resealed,
            broken,
            retired,
            kept,
        })
    }

    /// Returns the next key. A new key is in the key file when this returns.
    fn choose(&self) -> Result<KeyId, SealingError> {
        let _alone = self.lock()?;
        let keys = self.read_keys()?;
        let named = named(&self.connection)?;
        let of = |role| named.iter().find(|it| it.1 == role).map(|it| it.0);
        let current = of(KeyRole::Current);
        if let (Some(current), Some(_)) = (current, of(KeyRole::Retiring)) {
            return Ok(current);
        }
        if let Some(first) = keys.ids().next().filter(|&first| Some(first) != current) {
            return Ok(first);
        }
        let KeySource::File(path) = self.ring.source() else {
            return Err(SealingError::NoNewKey(self.ring.source().clone()));
        };
        let new = Keys::generate()?;
        let all = keys.after(&new);
        let all = all.ok_or_else(|| SealingError::TooMany(path.clone()))?;
        key_file::replace(path, &all)?;
        let id = new.ids().next();
        id.ok_or_else(|| SealingError::Gone(self.ring.source().clone()))
    }

    /// Announces a key in the database and deletes earlier objections.
    fn announce(&mut self, id: KeyId) -> Result<(), SealingError> {
        let transaction = begin(&mut self.connection)?;
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

    /// Waits for objections. Withdraws the announcement if a process objects.
    fn listen(&mut self, id: KeyId) -> Result<(), SealingError> {
        let until = Instant::now() + OBJECTIONS;
        while Instant::now() < until {
            if let Err(error) = heed(&self.connection, id) {
                self.connection.execute(
                    "DELETE FROM sealing_key WHERE state = 'announced' AND id = ?1",
                    (id.0,),
                )?;
                return Err(error);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn switch(&mut self, id: KeyId) -> Result<(), SealingError> {
        let transaction = begin(&mut self.connection)?;
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

    fn reseal(
        &mut self,
        key: &Arc<SealingKey>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(u64, Vec<Broken>), SealingError> {
        let sql = format!("SELECT count(*) FROM identity WHERE {PENDING}");
        let total = self.connection.query_row(&sql, (key.id().0,), count)?;
        let (mut after, mut done, mut resealed, mut broken) = (i64::MIN, 0, 0, Vec::new());
        loop {
            progress(Progress { done, total });
            let began = Instant::now();
            let transaction = begin(&mut self.connection)?;
            heed(&transaction, key.id())?;
            let rows = pending(&transaction, key.id(), after)?;
            for row in &rows {
                let is_anew = renew(&transaction, &self.ring, key, row, &mut broken)?;
                resealed += u64::from(is_anew);
            }
            trim(&transaction)?;
            transaction.commit()?;
            let Some(last) = rows.last() else {
                return Ok((resealed, broken));
            };
            after = last.id;
            done += rows.len() as u64;
            // Leave half of the time to other writers.
            thread::sleep(began.elapsed().clamp(PAUSE.0, PAUSE.1));
        }
    }

    /// Removes from the database the keys that no seed needs. Returns them, and the remaining
    /// former keys.
    fn settle(&mut self) -> Result<(Vec<KeyId>, Vec<KeyId>), SealingError> {
        let transaction = begin(&mut self.connection)?;
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
}

impl Sqlite {
    /// Objects to keys that the database names and this process does not have.
    pub(super) async fn object(&self, missing: Vec<KeyId>) {
        if missing.is_empty() {
            return;
        }
        // The same task polls the change log, so it must not wait for a slow disk. Repeated
        // objections count once.
        let patience = Patience::AtMost(Duration::ZERO);
        let said = self.write_within(self.timeout, patience, move |transaction| {
            let mut new = Vec::new();
            for id in missing {
                let sql = "INSERT OR IGNORE INTO key_missing (key, process) VALUES (?1, ?2)";
                if transaction.execute(sql, (id.0, std::process::id()))? > 0 {
                    new.push(id);
                }
            }
            Ok(new)
        });
        match said.await {
            Ok(new) => {
                for key in new {
                    tracing::error!(%key, key_source = %self.source(), "key rotation needs a key that is missing here");
                }
            }
            Err(error) => tracing::error!(%error, "cannot record that a key is missing"),
        }
    }
}

/// The rows with a seed that is encrypted with another key than `?1`.
const PENDING: &str = "(substr(seed, 2, 8) <> ?1 OR substr(previous_seed, 2, 8) <> ?1)";

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
        .query_map((key.0, after, BATCH), SealedRow::read)?
        .collect()
}

/// Re-encrypts the seeds of a row that decrypt. Returns whether there were any.
fn renew(
    transaction: &Transaction<'_>,
    ring: &KeyRing,
    key: &SealingKey,
    row: &SealedRow,
    broken: &mut Vec<Broken>,
) -> rusqlite::Result<bool> {
    let mut anew = |which, sealed: &Vec<u8>| {
        if key_of(sealed) == Ok(key.id()) {
            return Ok(None);
        }
        let who = match row.who() {
            Ok(who) => who,
            Err(error) => {
                broken.push(row.broken(which, error.to_string()));
                return Ok(None);
            }
        };
        match ring.open(sealed, who) {
            Ok(seed) => key.seal(&seed, who).map(Some).map_err(conversion),
            Err(error) => {
                broken.push(row.broken(which, error.to_string()));
                Ok(None)
            }
        }
    };
    let seed = anew("seed", &row.seed)?;
    let previous = match &row.previous {
        Some(previous) => anew("previous_seed", previous)?,
        None => None,
    };
    if seed.is_none() && previous.is_none() {
        return Ok(false);
    }
    transaction
        .prepare_cached(
            "UPDATE identity SET seed = coalesce(?2, seed),
                previous_seed = coalesce(?3, previous_seed) WHERE id = ?1",
        )?
        .execute((row.id, seed, previous))?;
    Ok(true)
}

/// Fails if a process has objected to the key.
fn heed(connection: &Connection, key: KeyId) -> Result<(), SealingError> {
    let mut said = connection.prepare_cached("SELECT process FROM key_missing WHERE key = ?1")?;
    match said.query_map((key.0,), |row| row.get(0))?.next() {
        None => Ok(()),
        Some(process) => Err(SealingError::Missing {
            process: process?,
            key,
        }),
    }
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}
