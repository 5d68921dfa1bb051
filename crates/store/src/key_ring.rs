//! The keys that this process holds, where they are from, and how it learns of another one.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::key_file::{self, KeyFileError, Keys};
use super::seal::{KeyId, SealError, SealingKey, key_of};
use realmgate_core::{PrincipalRef, Seed};

/// Where the keys are from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file; made if missing and the database has no key yet.
    File(PathBuf),
    /// A file that somebody else makes, such as a service manager.
    Credential(PathBuf),
    /// An environment variable.
    Environment(Keys),
}

impl KeySource {
    /// The environment variable that holds keys.
    pub const VARIABLE: &str = "REALMGATE_STORE_KEY";
    /// The name of the credential that holds keys.
    pub const CREDENTIAL: &str = "realmgate.key";

    /// Returns the file, unless the keys are from the environment.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Credential(path) => Some(path),
            Self::Environment(_) => None,
        }
    }

    /// Reads the keys, or none if there is no file.
    pub(super) fn read(&self) -> Result<Option<Keys>, KeyFileError> {
        match self {
            Self::File(path) | Self::Credential(path) => key_file::read(path),
            Self::Environment(keys) => Ok(Some(keys.clone())),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "key file {}", path.display()),
            Self::Credential(path) => write!(f, "credential {}", path.display()),
            Self::Environment(_) => f.write_str(Self::VARIABLE),
        }
    }
}

/// Seals with the key that the database names, and opens what any key has sealed.
///
/// A key that is not held is looked for in the file, if that is another one than was read last: so a
/// process learns of a key that was added while it runs.
pub(super) struct Ring {
    source: KeySource,
    keys: ArcSwap<Keys>,
    read: Mutex<Option<Stamp>>,
}

impl Ring {
    pub(super) fn new(source: KeySource, keys: Keys) -> Self {
        Self {
            source,
            keys: ArcSwap::from_pointee(keys),
            read: Mutex::new(None),
        }
    }

    pub(super) fn source(&self) -> &KeySource {
        &self.source
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    pub(super) fn find(&self, id: KeyId) -> Option<Arc<SealingKey>> {
        self.held(id).or_else(|| self.learn(id))
    }

    pub(super) fn open(&self, sealed: &[u8], who: PrincipalRef<'_>) -> Result<Seed, SealError> {
        let id = key_of(sealed)?;
        let key = self.find(id).ok_or(SealError::OtherKey(id))?;
        key.open(sealed, who)
    }

    fn held(&self, id: KeyId) -> Option<Arc<SealingKey>> {
        self.keys.load().find(id).cloned()
    }

    fn learn(&self, id: KeyId) -> Option<Arc<SealingKey>> {
        // A file without the key that is looked for would take those away that are held.
        self.read_again(|keys| keys.find(id).is_some());
        self.held(id)
    }

    /// Takes what the file holds by now, unless it lacks one of these keys that is held: so a key that was
    /// taken out of the file goes from memory too.
    pub(super) fn refresh(&self, named: &[KeyId]) {
        let is_lost = |id: KeyId, keys: &Keys| self.held(id).is_some() && keys.find(id).is_none();
        self.read_again(|keys| !named.iter().any(|&id| is_lost(id, keys)));
    }

    /// Reads the file, if it is another one than was read last, and takes its keys if they fit.
    fn read_again(&self, fits: impl FnOnce(&Keys) -> bool) {
        let Some(path) = self.source.path() else {
            return;
        };
        let mut read = self.read.lock();
        let stamp = Stamp::of(path);
        if stamp.is_none() || stamp == *read {
            return;
        }
        match key_file::read(path) {
            Ok(Some(keys)) => {
                *read = stamp;
                if !fits(&keys) {
                    tracing::warn!(key_source = %self.source, keys = %keys, "the key source lacks keys that seeds need: the keys in memory stay in use");
                } else if !keys.ids().eq(self.keys.load().ids()) {
                    tracing::info!(key_source = %self.source, keys = %keys, "keys reloaded");
                    self.keys.store(Arc::new(keys));
                }
            }
            Ok(None) => {}
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "cannot reload the keys: those in memory stay in use");
            }
        }
    }
}

/// What tells a file from the one that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    changed: (i64, i64),
    len: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            len: metadata.len(),
        })
    }
}
