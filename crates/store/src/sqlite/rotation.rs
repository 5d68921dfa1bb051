//! Another key, row by row, while the database is served.
//!
//! The new key is in the key file before the database names it, so that every process can get it. It is
//! announced: processes look for it, and one that cannot get it says so (`key_missing`). Then it is the
//! current one, which all writers seal with from that moment. What is left is re-sealed in small
//! transactions; a run that is cut short is gone on with by the next one.

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
use crate::ring::{KeySource, Ring};
use crate::seal::{KeyId, SealError, SealingKey, key_of};

/// How long processes are given to say that they cannot get a key: many times what they take to notice.
const OBJECTIONS: Duration = Duration::from_secs(3);

/// Rows in a transaction.
const BATCH: u32 = 64;

/// What a pause between transactions is at least, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(250));

/// How far a rotation is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// How many rows it has been through.
    pub done: u64,
    /// How many were to be done at its start.
    pub total: u64,
}

/// What came of a rotation.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The key that seals now.
    pub key: KeyId,
    /// How many rows this run has re-sealed.
    pub resealed: u64,
    /// The seeds that do not open. They are as they were.
    pub broken: Vec<Broken>,
    /// The keys that no seed needs any more.
    pub retired: Vec<KeyId>,
    /// The keys that seeds which do not open name.
    pub kept: Vec<KeyId>,
}

impl Sealing {
    /// Goes on with a rotation that has begun, or begins one: with the first key, if that is not the
    /// current one, or with a new one.
    ///
    /// # Errors
    /// [`SealingError`]. What was re-sealed until then stays so.
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

    /// Returns the key to go over to; a new one is in the key file then.
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

    /// Names a key that is not the current one yet, and forgets what was said about it.
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

    /// Waits whether a process says that it cannot get the key; then it is not announced any more.
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
            // Half of the time is for other writers.
            thread::sleep(began.elapsed().clamp(PAUSE.0, PAUSE.1));
        }
    }

    /// Lets the database go of keys that no seed needs; returns them and the others.
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
    /// Says, for a rotation to hear, that keys which the database names are not to be had here.
    pub(super) async fn object(&self, missing: Vec<KeyId>) {
        if missing.is_empty() {
            return;
        }
        // The change log is read by the same task: it must not wait for a slow disk. What is said twice counts once.
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

/// The rows whose seeds another key than the first parameter seals.
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

/// Re-seals what opens of a row; says whether something did.
fn renew(
    transaction: &Transaction<'_>,
    ring: &Ring,
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

/// Fails if a process has said that it cannot get the key.
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
