//! Inspects and changes the keys of a database.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::folder::lock_folder;
use crate::intent::Intent;
use crate::key_file::{self, Keys};
use crate::key_ring::{KeyRing, KeySource};
use crate::key_tables::{Broken, KeyRole, KeyTables, KeyUse, List, SealingError};
use crate::open_error::OpenError;
use crate::options::{Backend, Options};
use crate::postgres::PostgresKeys;
use crate::seal::KeyId;
use crate::sqlite::open_keys;

/// A database and its keys, opened for key management while other processes may be serving it.
pub struct Sealing {
    pub(super) tables: Box<dyn KeyTables>,
    pub(super) ring: Arc<KeyRing>,
    /// Locked while keys are changed, by one process at a time.
    lock_path: Option<PathBuf>,
}

impl Sealing {
    /// Opens an existing database. Blocks, so it must not be called on an event loop.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: &Options, intent: Intent) -> Result<Self, OpenError> {
        let (key, timeout) = (options.key.clone(), options.timeout);
        let (tables, ring, lock_path): (Box<dyn KeyTables>, _, _) = match &options.database {
            Backend::Sqlite { path, .. } => {
                let (tables, ring) = open_keys(path, key, timeout, intent)?;
                (Box::new(tables), Arc::new(ring), Some(path.clone()))
            }
            Backend::Postgres(server) => {
                let lock_path = key.path().map(PathBuf::from);
                let (tables, ring) = PostgresKeys::open((**server).clone(), key, timeout, intent)?;
                (Box::new(tables), ring, lock_path)
            }
        };
        Ok(Self {
            tables,
            ring,
            lock_path,
        })
    }

    /// Returns all keys that are available, named by the database, or used by seeds.
    ///
    /// # Errors
    /// [`SealingError::Database`].
    pub fn keys(&mut self) -> Result<Vec<KeyUse>, SealingError> {
        let held: Vec<_> = self.ring.keys().ids().collect();
        let named = self.tables.named()?;
        let seeds = self.tables.seeds()?;
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

    /// Returns the current key.
    ///
    /// # Errors
    /// [`SealingError::Database`].
    pub fn current(&mut self) -> Result<Option<KeyId>, SealingError> {
        let mut named = self.tables.named()?.into_iter();
        Ok(named.find(|it| it.1 == KeyRole::Current).map(|it| it.0))
    }

    /// Decrypts every seed. Returns the number of those that decrypt, and those that do not.
    ///
    /// # Errors
    /// [`SealingError::Database`].
    pub fn check(&mut self) -> Result<(u64, Vec<Broken>), SealingError> {
        let (mut good, mut broken) = (0, Vec::new());
        let ring = &self.ring;
        self.tables.each(&mut |row| {
            for (which, sealed) in row.seeds() {
                match row.open(ring, sealed) {
                    Ok(()) => good += 1,
                    Err(why) => broken.push(row.broken(which, why)),
                }
            }
        })?;
        Ok((good, broken))
    }

    /// Removes the keys after the current one that no seed needs from the key file, and returns
    /// them.
    ///
    /// # Errors
    /// [`SealingError`]; [`SealingError::ByHand`] if there are such keys and they are not from a
    /// file.
    pub fn retire(&mut self) -> Result<Vec<KeyId>, SealingError> {
        let _alone = self.lock()?;
        let keys = self.read_keys()?;
        let (mut removed, ring) = (Vec::new(), &self.ring);
        self.tables.alone(&mut |named, seeds| {
            let is_current = |id: &KeyId| {
                named
                    .iter()
                    .any(|it| it.0 == *id && it.1 == KeyRole::Current)
            };
            let is_needed =
                |id: &KeyId| seeds.contains_key(id) || named.iter().any(|it| it.0 == *id);
            let ids: Vec<_> = keys
                .ids()
                .skip_while(|id| !is_current(id))
                .filter(|id| !is_needed(id))
                .collect();
            match (keys.without(&ids), ring.source()) {
                _ if ids.is_empty() => {}
                (Some(left), KeySource::File(path)) => key_file::replace(path, &left)?,
                (_, source) => return Err(SealingError::ByHand(source.clone(), List(ids))),
            }
            removed = ids;
            Ok(())
        })?;
        Ok(removed)
    }

    /// Waits until no other process changes keys.
    pub(super) fn lock(&self) -> Result<Option<File>, SealingError> {
        let lock = |path: &PathBuf| {
            lock_folder(path).map_err(|error| SealingError::Folder(path.clone(), error))
        };
        self.lock_path.as_ref().map(lock).transpose()
    }

    pub(super) fn read_keys(&self) -> Result<Keys, SealingError> {
        let source = self.ring.source();
        source
            .read()?
            .ok_or_else(|| SealingError::Gone(source.clone()))
    }
}
