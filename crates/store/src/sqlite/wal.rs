//! Checkpoints the write-ahead log.

use super::pool::{interact, pool_error};
use super::query::Sqlite;

impl Sqlite {
    /// Writes the write-ahead log back into the database file, so that a copy of that file is
    /// complete.
    pub(super) async fn checkpoint(&self) {
        let work = async {
            let connection = self.writer.get().await.map_err(pool_error)?;
            interact(&connection, self.timeout, |connection| {
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
            })
            .await
        };
        if let Err(error) = work.await {
            tracing::warn!(%error, "cannot checkpoint the write-ahead log of the database");
        }
    }
}
