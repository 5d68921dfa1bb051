//! Inspects and maintains the keys of a database.

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
use crate::key_ring::{KeyRing, KeySource};
use crate::seal::{KeyId, SealError};
use realmgate_core::{PrincipalError, PrincipalRef};

/// A database and its keys, opened for maintenance. The database may be in use.
pub struct Sealing {
    pub(super) connection: Connection,
    pub(super) ring: KeyRing,
    pub(super) path: PathBuf,
}

impl Sealing {
    /// Opens an existing database.
    ///
    /// # Errors
    /// [`OpenError`] if it cannot be opened.
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

    /// Returns the keys that are available, named by the database, or used by seeds.
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

    /// Returns the current key, if there is one.
    ///
    /// # Errors
    /// [`SealingError::Database`].
    pub fn current(&self) -> Result<Option<KeyId>, SealingError> {
        let mut named = named(&self.connection)?.into_iter();
        Ok(named.find(|it| it.1 == KeyRole::Current).map(|it| it.0))
    }

    /// Decrypts every seed. Returns how many could be decrypted, and the others.
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

    /// Removes the keys from the key file that come after the current one and that no seed needs.
    /// Returns them.
    ///
    /// # Errors
    /// [`SealingError`]; [`SealingError::ByHand`] if there are such keys but the source is not a
    /// file.
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
        // A commit makes every process reload its keys.
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

/// A key and its use.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse {
    /// The id of the key.
    pub id: KeyId,
    /// The role of the key.
    pub role: KeyRole,
    /// The number of seeds that are encrypted with it.
    pub seeds: u64,
    /// Whether the configured source contains it.
    pub is_held: bool,
}

/// The role of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// Before the current key in the source: the next rotation switches to it.
    Next,
    /// Announced by a rotation, which waits for objections.
    Announced,
    /// Encrypts new seeds.
    Current,
    /// Being replaced: its seeds are re-encrypted.
    Retiring,
    /// Not needed by any seed, but perhaps by a backup.
    Spare,
    /// Needed by seeds but not available, so they do not decrypt.
    Unknown,
}

impl KeyRole {
    /// Returns the name of the role.
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

/// A seed that does not decrypt. Never contains the seed.
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
    /// The cause.
    pub why: String,
}

/// A row whose seeds have not been decrypted.
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

    fn open(&self, ring: &KeyRing, sealed: &[u8]) -> Result<(), String> {
        let who = self.who().map_err(|error| error.to_string())?;
        let opened = ring.open(sealed, who);
        opened.map(drop).map_err(|error| error.to_string())
    }
}

/// Returns the keys that the database names, with their roles.
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

/// Counts the seeds that are encrypted with each key.
pub(super) fn seeds(connection: &Connection) -> rusqlite::Result<BTreeMap<KeyId, u64>> {
    // A value that is too short has no key id.
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

/// A list of key ids.
#[derive(Clone, Debug)]
pub struct List(pub Vec<KeyId>);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.0.iter().map(KeyId::to_string).collect();
        f.write_str(&ids.join(", "))
    }
}

/// Why keys cannot be inspected or changed. Never contains a key.
#[derive(Debug, Error)]
pub enum SealingError {
    /// SQLite failed.
    #[error("the database failed")]
    Database(#[from] rusqlite::Error),
    /// The directory of the database cannot be locked.
    #[error("database {0}: its directory cannot be locked")]
    Folder(PathBuf, #[source] io::Error),
    /// The key file cannot be read or written.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The key source has disappeared since the database was opened.
    #[error("{0}: no longer exists")]
    Gone(KeySource),
    /// A named key is not available, or there are no random bytes.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The key source does not allow creating a key.
    #[error(
        "{0}: its first key is already the current one, and a new one must be added by hand: insert the output of `realmgate key generate` before it, restart every process that serves this database, and run this command again"
    )]
    NoNewKey(KeySource),
    /// The key file is full.
    #[error(
        "key file {0}: already holds {most} keys, the maximum; `realmgate key retire` removes those that no seed needs",
        most = Keys::MOST
    )]
    TooMany(PathBuf),
    /// Only the provider of the keys can remove them.
    #[error("{0}: no seed needs key {1}; remove it by hand")]
    ByHand(KeySource, List),
    /// A process could not decrypt re-encrypted seeds.
    #[error(
        "process {process} serves this database and does not have key {key}: restart it, so that it reads the keys again, and run this command again"
    )]
    Missing {
        /// The process id.
        process: u32,
        /// The key that it lacks.
        key: KeyId,
    },
}

impl SealingError {
    /// Returns whether an operator must act first.
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
