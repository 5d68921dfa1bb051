//! What there is to know of the keys of a database, for whoever looks after it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use rusqlite::{Connection, Row, TransactionBehavior};
use thiserror::Error;

use super::folder::lock_folder;
use super::open::{Intent, OpenError, Options, Prepared, prepare};
use super::rows::count;
use crate::key_file::{self, KeyFileError, Keys};
use crate::ring::{KeySource, Ring};
use crate::seal::{KeyId, SealError};
use realmgate_core::{PrincipalError, PrincipalRef};

/// A database and its keys, opened to look after them, while it is served too.
pub struct Sealing {
    pub(super) connection: Connection,
    pub(super) ring: Ring,
    pub(super) path: PathBuf,
}

impl Sealing {
    /// Opens a database that is there.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: &Options, intent: Intent) -> Result<Self, OpenError> {
        let path = options.path.clone();
        let Prepared {
            connection, ring, ..
        } = prepare(&path, options.key.clone(), options.timeout, intent)?;
        Ok(Self {
            connection,
            ring,
            path,
        })
    }

    /// Returns the keys that are held, named by the database or that seeds are sealed with.
    ///
    /// # Errors
    /// [`SealingError::Database`].
    pub fn keys(&self) -> Result<Vec<KeyUse>, SealingError> {
        let held: Vec<_> = self.ring.keys().ids().collect();
        let named = named(&self.connection)?;
        let seeds = seeds(&self.connection)?;
        let mut ids = held.clone();
        for id in named.iter().map(|(id, _)| id).chain(seeds.keys()) {
            if !ids.contains(id) {
                ids.push(*id);
            }
        }
        let current = named.iter().find(|(_, role)| *role == KeyRole::Current);
        let current = current.and_then(|(id, _)| held.iter().position(|it| it == id));
        let role = |id: &KeyId| {
            let named = named.iter().find(|(it, _)| it == id).map(|(_, role)| *role);
            named.unwrap_or(match held.iter().position(|it| it == id) {
                Some(at) if Some(at) < current => KeyRole::Next,
                Some(_) => KeyRole::Spare,
                None => KeyRole::Unknown,
            })
        };
        let key = |id: KeyId| KeyUse {
            id,
            role: role(&id),
            seeds: seeds.get(&id).copied().unwrap_or(0),
            is_held: held.contains(&id),
        };
        Ok(ids.into_iter().map(key).collect())
    }

    /// Returns the key that seals.
    ///
    /// # Errors
    /// [`SealingError::Database`].
    pub fn current(&self) -> Result<Option<KeyId>, SealingError> {
        let mut named = named(&self.connection)?.into_iter();
        Ok(named.find(|it| it.1 == KeyRole::Current).map(|it| it.0))
    }

    /// Opens every seed; returns how many do, and those that do not.
    ///
    /// # Errors
    /// [`SealingError::Database`].
    pub fn check(&self) -> Result<(u64, Vec<Broken>), SealingError> {
        let mut statement = self
            .connection
            .prepare("SELECT id, name, realm, seed, previous_seed FROM identity ORDER BY id")?;
        let mut rows = statement.query(())?;
        let (mut good, mut broken) = (0, Vec::new());
        while let Some(row) = rows.next()? {
            let row = SealedRow::read(row)?;
            for (which, sealed) in row.seeds() {
                match row.open(&self.ring, sealed) {
                    Ok(_) => good += 1,
                    Err(why) => broken.push(row.broken(which, why)),
                }
            }
        }
        Ok((good, broken))
    }

    /// Takes keys out of the key file that come after the current one and that nothing needs; returns
    /// them.
    ///
    /// # Errors
    /// [`SealingError`]; of keys that are not from a file, [`SealingError::ByHand`] if there are some.
    pub fn retire(&mut self) -> Result<Vec<KeyId>, SealingError> {
        let _alone = self.lock()?;
        let keys = self.read_keys()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (named, seeds) = (named(&transaction)?, seeds(&transaction)?);
        let is_current = |id: &KeyId| {
            named
                .iter()
                .any(|it| it.0 == *id && it.1 == KeyRole::Current)
        };
        let is_needed = |id: &KeyId| seeds.contains_key(id) || named.iter().any(|it| it.0 == *id);
        let ids: Vec<_> = keys
            .ids()
            .skip_while(|id| !is_current(id))
            .filter(|id| !is_needed(id))
            .collect();
        match (keys.without(&ids), self.ring.source()) {
            _ if ids.is_empty() => {}
            (Some(left), KeySource::File(path)) => key_file::replace(path, &left)?,
            (_, source) => return Err(SealingError::ByHand(source.clone(), List(ids))),
        }
        // A commit, for which every process looks at the keys again.
        transaction.execute("UPDATE sealing_key SET state = state", ())?;
        transaction.commit()?;
        Ok(ids)
    }

    /// Waits until no other process changes keys.
    pub(super) fn lock(&self) -> Result<std::fs::File, SealingError> {
        lock_folder(&self.path).map_err(|error| SealingError::Folder(self.path.clone(), error))
    }

    pub(super) fn read_keys(&self) -> Result<Keys, SealingError> {
        let source = self.ring.source();
        source
            .read()?
            .ok_or_else(|| SealingError::Gone(source.clone()))
    }
}

/// A key, and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse {
    /// Its name.
    pub id: KeyId,
    /// What it is for.
    pub role: KeyRole,
    /// How many seeds are sealed with it.
    pub seeds: u64,
    /// Whether it is where keys are configured to be.
    pub is_held: bool,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// It stands before the current one: the next rotation takes it.
    Next,
    /// A rotation has begun, and looks whether every process has it.
    Announced,
    /// It seals.
    Current,
    /// What it has sealed is being re-sealed.
    Retiring,
    /// Nothing needs it, unless a backup does.
    Spare,
    /// Seeds are sealed with it that do not open.
    Unknown,
}

impl KeyRole {
    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Announced => "announced",
            Self::Current => "current",
            Self::Retiring => "retiring",
            Self::Spare => "spare",
            Self::Unknown => "unknown",
        }
    }
}

/// A seed that does not open. Never holds the seed.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The number of its identity.
    pub id: i64,
    /// The name of its identity.
    pub name: String,
    /// The realm of its identity.
    pub realm: String,
    /// `seed`, or `previous_seed`.
    pub which: &'static str,
    /// Why.
    pub why: String,
}

/// A row of which nothing is known but its seals.
pub(super) struct SealedRow {
    pub(super) id: i64,
    name: String,
    realm: String,
    pub(super) seed: Vec<u8>,
    pub(super) previous: Option<Vec<u8>>,
}

impl SealedRow {
    /// Reads `id, name, realm, seed, previous_seed`.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            realm: row.get(2)?,
            seed: row.get(3)?,
            previous: row.get(4)?,
        })
    }

    pub(super) fn who(&self) -> Result<PrincipalRef<'_>, PrincipalError> {
        PrincipalRef::new(&self.name, &self.realm, usize::MAX)
    }

    pub(super) fn broken(&self, which: &'static str, why: String) -> Broken {
        Broken {
            id: self.id,
            name: self.name.clone(),
            realm: self.realm.clone(),
            which,
            why,
        }
    }

    fn seeds(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let previous = self.previous.as_deref().map(|it| ("previous_seed", it));
        std::iter::once(("seed", &*self.seed)).chain(previous)
    }

    fn open(&self, ring: &Ring, sealed: &[u8]) -> Result<(), String> {
        let who = self.who().map_err(|error| error.to_string())?;
        let opened = ring.open(sealed, who);
        opened.map(drop).map_err(|error| error.to_string())
    }
}

/// Returns the keys that the database names.
pub(super) fn named(connection: &Connection) -> rusqlite::Result<Vec<(KeyId, KeyRole)>> {
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

/// Counts the seeds under each key.
pub(super) fn seeds(connection: &Connection) -> rusqlite::Result<BTreeMap<KeyId, u64>> {
    // What is too short to name a key was sealed with none.
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

/// Some keys, by their ids.
#[derive(Clone, Debug)]
pub struct List(pub Vec<KeyId>);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.0.iter().map(KeyId::to_string).collect();
        f.write_str(&ids.join(", "))
    }
}

/// Why keys were not changed or looked at. Never holds a key.
#[derive(Debug, Error)]
pub enum SealingError {
    /// SQLite failed.
    #[error("the database failed")]
    Database(#[from] rusqlite::Error),
    /// The folder of the database cannot be locked.
    #[error("database {0}: its folder cannot be locked")]
    Folder(PathBuf, #[source] io::Error),
    /// The key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The keys were there when the database was opened.
    #[error("{0}: does not exist any more")]
    Gone(KeySource),
    /// A key is named and not held, or there are no random bytes.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A new key cannot be made where the keys are from.
    #[error(
        "{0}: its first key seals already, and a new one has to be put there by hand: write what `realmgate key generate` prints before it, start every process anew that serves this database, and run this again"
    )]
    NoNewKey(KeySource),
    /// No place for another key.
    #[error(
        "key file {0}: already holds {most} keys, the maximum; `realmgate key retire` removes those that no seed needs",
        most = Keys::MOST
    )]
    TooMany(PathBuf),
    /// Keys have to be taken out by whoever put them there.
    #[error("{0}: no seed needs key {1}; remove it by hand")]
    ByHand(KeySource, List),
    /// A process would refuse whoever is re-sealed.
    #[error(
        "process {process} serves this database and cannot get key {key}: start it anew, so that it reads the keys again, and run this again"
    )]
    Missing {
        /// The process.
        process: u32,
        /// The key that it needs.
        key: KeyId,
    },
}

impl SealingError {
    /// Says whether something has to be done by hand first.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::NoNewKey(_)
            | Self::TooMany(_)
            | Self::ByHand(..)
            | Self::Missing { .. }
            | Self::KeyFile(KeyFileError::NotAKey(_)) => true,
            Self::Database(_)
            | Self::Folder(..)
            | Self::KeyFile(_)
            | Self::Gone(_)
            | Self::Seal(_) => false,
        }
    }
}
