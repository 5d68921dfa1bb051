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

use crate::key_file::{self, Keys};
use crate::key_ring::{KeyRing, KeySource};
use crate::key_tables::{Broken, KeyRole, Renewed, SealedRow, SealingError};
use crate::seal::{KeyId, SealError, SealingKey, key_of};
use crate::sealing::Sealing;

/// How long processes may object to a key: many times the poll interval of the change log.
const OBJECTIONS: Duration = Duration::from_secs(3);

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
        self.tables.announce(id)?;
        self.listen(id)?;
        self.tables.switch(id)?;
        let (resealed, broken) = self.reseal(&key, &mut progress)?;
        let (retired, kept) = self.tables.settle()?;
        Ok(Rotated {
            key: id,
            resealed,
            broken,
            retired,
            kept,
        })
    }

    /// Returns the next key. A new key is in the key file when this returns.
    fn choose(&mut self) -> Result<KeyId, SealingError> {
        let _alone = self.lock()?;
        let keys = self.read_keys()?;
        let named = self.tables.named()?;
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

    /// Waits for objections. Withdraws the announcement if a process objects.
    fn listen(&mut self, id: KeyId) -> Result<(), SealingError> {
        let until = Instant::now() + OBJECTIONS;
        while Instant::now() < until {
            if let Err(error) = self.tables.heed(id) {
                self.tables.withdraw(id)?;
                return Err(error);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn reseal(
        &mut self,
        key: &Arc<SealingKey>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(u64, Vec<Broken>), SealingError> {
        let (id, ring) = (key.id(), Arc::clone(&self.ring));
        let total = self.tables.pending(id)?;
        let (mut after, mut done, mut resealed, mut broken) = (i64::MIN, 0, 0, Vec::new());
        loop {
            progress(Progress { done, total });
            let began = Instant::now();
            let batch = self.tables.reseal(id, after, &mut |row| {
                Ok(renew(&ring, key, row, &mut broken)?)
            })?;
            resealed += batch.resealed;
            let Some(last) = batch.last else {
                return Ok((resealed, broken));
            };
            after = last;
            done += batch.rows;
            // Leave half of the time to other writers.
            thread::sleep(began.elapsed().clamp(PAUSE.0, PAUSE.1));
        }
    }
}

/// Re-encrypts the seeds of a row that decrypt. Returns `None` if there are none.
fn renew(
    ring: &KeyRing,
    key: &SealingKey,
    row: &SealedRow,
    broken: &mut Vec<Broken>,
) -> Result<Option<Renewed>, SealError> {
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
            Ok(seed) => key.seal(&seed, who).map(Some),
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
        return Ok(None);
    }
    Ok(Some(Renewed { seed, previous }))
}
