//! Keeps the write-ahead log small.

use std::sync::Arc;
use std::time::Duration;

use deadpool_sqlite::Pool;
use realmgate_core::StoreError;
use rusqlite::Connection;
use tokio::task::JoinHandle;

use super::pool::{interact, pool_error};
use super::watch::Watch;

/// Larger, it is cut: what SQLite writes back by itself stays below.
const LARGE: u64 = 16 << 20;

/// How many looks at the change log it takes until the size is looked at.
const EVERY: u32 = 10;

/// Cuts a write-ahead log that has grown, as under a slow reader, once nobody reads from it any more.
pub(super) struct Cutter {
    writer: Pool,
    watch: Arc<Watch>,
    timeout: Duration,
    looks: u32,
    cutting: Option<JoinHandle<()>>,
}

impl Cutter {
    pub(super) fn new(writer: Pool, watch: Arc<Watch>, timeout: Duration) -> Self {
        Self {
            writer,
            watch,
            timeout,
            looks: 0,
            cutting: None,
        }
    }

    /// Begins to cut the log where it is time. It waits for nothing.
    pub(super) fn look(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        let is_idle = self.cutting.as_ref().is_none_or(JoinHandle::is_finished);
        if !is_idle || !self.looks.is_multiple_of(EVERY) || self.watch.log_bytes() <= LARGE {
            return;
        }
        let (writer, timeout) = (self.writer.clone(), self.timeout);
        self.cutting = Some(tokio::spawn(async move {
            if let Err(error) = cut_with(&writer, timeout).await {
                tracing::debug!(%error, "cannot cut the write-ahead log");
            }
        }));
    }
}

async fn cut_with(writer: &Pool, timeout: Duration) -> Result<(), StoreError> {
    let connection = writer.get().await.map_err(pool_error)?;
    let work = move |connection: &mut Connection| cut(connection, timeout);
    interact(&connection, timeout, work).await
}

fn cut(connection: &Connection, timeout: Duration) -> rusqlite::Result<()> {
    let checkpoint = |mode: &str| {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        connection.query_row(&sql, (), |row| {
            Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
    };
    // Without the lock of writers, for what may take seconds.
    let (frames, written) = checkpoint("PASSIVE")?;
    if frames != written {
        return Ok(());
    }
    connection.busy_timeout(Duration::ZERO)?;
    let cut = checkpoint("TRUNCATE").map(drop);
    connection.busy_timeout(timeout)?;
    cut
}
