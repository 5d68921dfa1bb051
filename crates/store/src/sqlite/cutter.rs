//! Keeps the write-ahead log small.

use std::sync::Arc;
use std::time::Duration;

use deadpool_sqlite::Pool;
use realmgate_core::StoreError;
use rusqlite::Connection;
use tokio::task::JoinHandle;

use super::pool::{interact, pool_error};
use super::watch::Watch;

/// The size in bytes above which the log is truncated. SQLite's own checkpoints keep it below.
const LARGE: u64 = 16 << 20;

/// The size is checked on every tenth poll of the change log.
const EVERY: u32 = 10;

/// Truncates a write-ahead log that has grown under a slow reader, once nobody reads from it.
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

    /// Begins to truncate the log if it is too large. Does not block.
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
    // PASSIVE takes no write lock for the part that may last seconds.
    let (frames, written) = checkpoint("PASSIVE")?;
    if frames != written {
        return Ok(());
    }
    connection.busy_timeout(Duration::ZERO)?;
    let cut = checkpoint("TRUNCATE").map(drop);
    connection.busy_timeout(timeout)?;
    cut
}
