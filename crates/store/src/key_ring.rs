//! The encryption keys of this process, where they come from, and how it picks up new ones.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::access::exposed;
use super::key_file::{self, KeyFileError, Keys};
use super::seal::{KeyId, SealError, SealingKey, key_of};
use realmgate_core::{PrincipalRef, Seed};

/// The source of the keys.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file. It is created if it is missing and the database has no key yet.
    File(PathBuf),
    /// A file that another program provides, such as a service manager.
    Credential(PathBuf),
    /// An environment variable.
    Environment(Keys),
}

impl KeySource {
    /// The environment variable that may contain keys.
    pub const VARIABLE: &str = "REALMGATE_STORE_KEY";

    /// Returns the path, or `None` if the keys are in the environment.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Credential(path) => Some(path),
            Self::Environment(_) => None,
        }
    }

    /// Returns the path and the mode of the file if other users can read it.
    pub fn exposed(&self) -> Option<(&Path, u32)> {
        let path = self.path()?;
        Some((path, exposed(path)?))
    }

    /// Reads the keys; `None` if there is no file.
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

/// Encrypts with the key that the database names, and decrypts with any key.
///
/// A key that is not in memory is looked up in the file, if the file has changed since it was last
/// read. So a running process picks up added keys.
pub(super) struct KeyRing {
    source: KeySource,
    keys: ArcSwap<Keys>,
    read: Mutex<Option<Stamp>>,
    gains: AtomicU64,
}

impl KeyRing {
    pub(super) fn new(source: KeySource, keys: Keys) -> Self {
        Self {
            source,
            keys: ArcSwap::from_pointee(keys),
            read: Mutex::new(None),
            gains: AtomicU64::default(),
        }
    }

    pub(super) fn source(&self) -> &KeySource {
        &self.source
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    /// Returns how often keys were added. Then seeds may decrypt that did not before.
    pub(super) fn gains(&self) -> u64 {
        self.gains.load(Ordering::SeqCst)
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
        // A file without the wanted key must not replace the keys in memory.
        self.read_again(|keys| keys.find(id).is_some());
        self.held(id)
    }

    /// Reloads the keys from the file, unless the file lacks a key in memory that the database
    /// names. So a key that was removed from the file also leaves memory.
    pub(super) fn refresh(&self, named: &[KeyId]) {
        let is_lost = |id: KeyId, keys: &Keys| self.held(id).is_some() && keys.find(id).is_none();
        self.read_again(|keys| !named.iter().any(|&id| is_lost(id, keys)));
    }

    /// Reads the file if it has changed, and takes its keys if they satisfy `fits`.
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
                    let has_more = keys.ids().any(|id| self.held(id).is_none());
                    self.keys.store(Arc::new(keys));
                    // Afterwards, so that whoever sees the new count reads with the new keys.
                    self.gains.fetch_add(has_more.into(), Ordering::SeqCst);
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

/// Distinguishes a file from one that replaces it.
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
