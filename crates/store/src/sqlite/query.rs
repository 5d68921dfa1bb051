//! The open database, and how it is read and written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_sqlite::Pool;
use rusqlite::{Connection, Transaction};

use super::changes::last_seq;
use super::commit::{self, Patience};
use super::loads::Loads;
use super::pool::{Access, database, interact, pool, pool_error};
use super::watch::Watch;
use crate::access::Way;
use crate::database::Seq;
use crate::key_ring::{KeyRing, KeySource};
use crate::metrics::{DatabaseCounts, Operation};
use crate::steady::Steady;
use realmgate_core::{ChangeError, StoreError};

/// An open database with the current schema.
pub(crate) struct Sqlite {
    readers: Pool,
    /// Reads identities that are not cached.
    pub(super) loads: Arc<Loads>,
    pub(super) writer: Pool,
    pub(super) ring: Arc<KeyRing>,
    pub(super) tails: Pool,
    pub(super) timeout: Duration,
    pub(super) watch: Arc<Watch>,
    pub(super) counts: DatabaseCounts,
    /// Dates failures.
    pub(super) clock: Steady,
    /// Whether the last write failed.
    pub(super) writes_fail: AtomicBool,
}

impl Sqlite {
    /// Makes the connection pools for a file that [`super::open`] has prepared.
    pub(super) fn new(
        path: &Path,
        readers: usize,
        timeout: Duration,
        (ring, way): (KeyRing, Way),
    ) -> Result<Self, StoreError> {
        let watch = Arc::new(Watch::new(path).map_err(|error| database(&error))?);
        let pool = |size, access| pool(path, size, timeout, (way, access), Arc::clone(&watch));
        let (connections, ring) = (pool(readers, Access::Read)?, Arc::new(ring));
        Ok(Self {
            loads: Loads::new((connections.clone(), readers), Arc::clone(&ring), timeout),
            readers: connections,
            writer: pool(1, Access::Write)?,
            tails: pool(1, Access::Read)?,
            ring,
            timeout,
            watch,
            counts: DatabaseCounts::default(),
            clock: Steady::default(),
            writes_fail: AtomicBool::default(),
        })
    }

    /// Returns the source of the keys.
    pub(super) fn source(&self) -> &KeySource {
        self.ring.source()
    }

    /// Returns the last position of the change log.
    pub(super) async fn last_seq(&self) -> Result<Seq, StoreError> {
        self.read(|connection| last_seq(connection)).await
    }

    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.watch.verdict()?;
        let work = async {
            let connection = self.readers.get().await.map_err(pool_error)?;
            interact(&connection, self.timeout, work).await
        };
        let counts = &self.counts;
        counts.timed(Operation::Read, work, |_| true).await
    }

    /// Runs one transaction. The write is on disk when this returns `Ok`, and did not happen
    /// otherwise.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, ChangeError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.write_within(self.timeout, Patience::Outcome, work)
            .await
    }

    pub(super) async fn write_within<T, F>(
        &self,
        timeout: Duration,
        patience: Patience,
        work: F,
    ) -> Result<T, ChangeError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let work = commit::write(&self.writer, timeout, patience, work);
        let counts = &self.counts;
        let is_failure = |error: &ChangeError| matches!(error, ChangeError::Store(_));
        self.watch.look()?;
        let outcome = counts.timed(Operation::Write, work, is_failure).await;
        let has_failed = outcome.as_ref().is_err_and(is_failure);
        self.writes_fail.store(has_failed, Ordering::Relaxed);
        let outcome = outcome?;
        // A commit to a file that was replaced meanwhile does not count.
        self.watch.look()?;
        Ok(outcome)
    }
}
