//! The keys that a database names and their roles, and the operations on them that key management
//! needs.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::key_file::{KeyFileError, Keys};
use crate::key_ring::{KeyRing, KeySource};
use crate::seal::{KeyId, SealError};
use realmgate_core::{PrincipalError, PrincipalRef, StoreError};

/// The keys that a database names, with their roles.
pub(super) type Named = Vec<(KeyId, KeyRole)>;

/// The number of seeds encrypted with each key.
pub(super) type Sealed = BTreeMap<KeyId, u64>;

/// A database whose keys are managed while it is being served.
pub(super) trait KeyTables {
    /// Returns the keys that the database names.
    fn named(&mut self) -> Result<Named, SealingError>;

    /// Returns the number of seeds encrypted with each key, as triggers have counted them: to show,
    /// not to decide on.
    fn seeds(&mut self) -> Result<Sealed, SealingError>;

    /// Visits every row, ordered by number.
    fn each(&mut self, visit: &mut dyn FnMut(&SealedRow)) -> Result<(), SealingError>;

    /// Announces a key that is not the current one yet, and clears earlier objections.
    fn announce(&mut self, id: KeyId) -> Result<(), SealingError>;

    /// Withdraws the announcement of a key.
    fn withdraw(&mut self, id: KeyId) -> Result<(), SealingError>;

    /// Fails if a process has objected because it lacks the key.
    fn heed(&mut self, id: KeyId) -> Result<(), SealingError>;

    /// Makes a key the current one. Fails if a process has objected to it.
    fn switch(&mut self, id: KeyId) -> Result<(), SealingError>;

    /// Counts the rows with seeds encrypted with another key.
    fn pending(&mut self, id: KeyId) -> Result<u64, SealingError>;

    /// Re-encrypts the next rows above the number `after` with seeds encrypted with another key, in
    /// one transaction. Fails if a process has objected to the key.
    fn reseal(
        &mut self,
        id: KeyId,
        after: i64,
        renew: &mut dyn FnMut(&SealedRow) -> Result<Option<Renewed>, SealingError>,
    ) -> Result<Batch, SealingError>;

    /// Removes the retiring keys that no seed uses. Returns them and the remaining ones.
    fn settle(&mut self) -> Result<(Vec<KeyId>, Vec<KeyId>), SealingError>;

    /// Runs `work` while no other process changes identities or keys, then makes every process read
    /// the keys again.
    fn alone(
        &mut self,
        work: &mut dyn FnMut(Named, Sealed) -> Result<(), SealingError>,
    ) -> Result<(), SealingError>;
}

/// The sealed seeds of a row that change.
#[derive(Default)]
pub(super) struct Renewed {
    pub(super) seed: Option<Vec<u8>>,
    pub(super) previous: Option<Vec<u8>>,
}

/// The result of processing some rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Batch {
    /// The number of rows.
    pub(super) rows: u64,
    /// The number of rows that were re-encrypted.
    pub(super) resealed: u64,
    /// The number of the last row.
    pub(super) last: Option<i64>,
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
    pub(super) name: String,
    pub(super) realm: String,
    pub(super) seed: Vec<u8>,
    pub(super) previous: Option<Vec<u8>>,
}

impl SealedRow {
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

    pub(super) fn seeds(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let previous = self.previous.as_deref().map(|it| ("previous_seed", it));
        std::iter::once(("seed", &*self.seed)).chain(previous)
    }

    pub(super) fn open(&self, ring: &KeyRing, sealed: &[u8]) -> Result<(), String> {
        let who = self.who().map_err(|error| error.to_string())?;
        let opened = ring.open(sealed, who);
        opened.map(drop).map_err(|error| error.to_string())
    }
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
    /// The server failed.
    #[error("the database failed")]
    Server(#[from] StoreError),
    /// The directory of the database, or of the key file, cannot be locked.
    #[error("{0}: its directory cannot be locked")]
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
        "process {process} serves this database and does not have key {key}: put the key into its key file, which it reads again by itself, or restart it with the key if it gets its keys from a variable or a credential; then run this command again"
    )]
    Missing {
        /// The process id, with the name of the node if there may be several.
        process: Box<str>,
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
            | Self::Server(_)
            | Self::Folder(..)
            | Self::KeyFile(_)
            | Self::Gone(_)
            | Self::Seal(_) => false,
        }
    }
}
