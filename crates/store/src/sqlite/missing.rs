//! Objects to keys that this process does not have.

use std::time::Duration;

use super::commit::Patience;
use super::query::Sqlite;
use crate::seal::KeyId;

impl Sqlite {
    /// Objects to keys that the database names and this process does not have, so that a rotation
    /// does not switch to them.
    pub(super) async fn object(&self, missing: Vec<KeyId>) {
        if missing.is_empty() {
            return;
        }
        // The task that reads the change log must not wait for a slow disk. A repeated objection
        // counts once.
        let patience = Patience::AtMost(Duration::ZERO);
        let said = self.write_within(self.timeout, patience, move |transaction| {
            let mut new = Vec::new();
            for id in missing {
                let sql = "INSERT OR IGNORE INTO key_missing (key, process) VALUES (?1, ?2)";
                if transaction.execute(sql, (id.0, std::process::id()))? > 0 {
                    new.push(id);
                }
            }
            Ok(new)
        });
        match said.await {
            Ok(new) => {
                for key in new {
                    tracing::error!(%key, key_source = %self.source(), "key rotation needs a key that is missing here");
                }
            }
            Err(error) => tracing::error!(%error, "cannot record that a key is missing"),
        }
    }
}
