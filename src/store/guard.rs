//! What guards tokens, on disk: spent steps, counts of failures, and when identities were used.

use rusqlite::{OptionalExtension, Row, Transaction};

use super::rows::{sql_time, unix_time};
use super::sqlite::Sqlite;
use crate::auth::{
    ChangeError, Counts, IdentityId, Notes, Scope, Spent, Step, StoreError, ThrottleRecord,
};

/// The most counts that are kept. Those whose last failure or success is longest ago go first.
const COUNTS_KEPT: i64 = 500_000;

impl Sqlite {
    /// Spends a step; says whether it was to be had.
    pub(super) async fn spend(
        &self,
        id: IdentityId,
        step: Step,
        window: u8,
    ) -> Result<bool, StoreError> {
        let spent = self.write(move |transaction| {
            let bytes: Option<Vec<u8>> = transaction
                .prepare_cached("SELECT steps FROM spent WHERE identity = ?1")?
                .query_row((id.0,), |row| row.get(0))
                .optional()?;
            let mut spent = match bytes {
                None => Spent::default(),
                Some(bytes) => Spent::from_bytes(&bytes).ok_or(rusqlite::Error::InvalidQuery)?,
            };
            let is_had = spent.spend(step, window);
            if is_had {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO spent (identity, steps) VALUES (?1, ?2)",
                    )?
                    .execute((id.0, spent.to_bytes()))?;
            }
            Ok(is_had)
        });
        spent.await.map_err(no_change)
    }

    /// Reads the counts and their key.
    pub(super) async fn counts(&self) -> Result<Counts, StoreError> {
        self.read(|connection| {
            let key = connection.query_row("SELECT key FROM throttle_key", (), |row| row.get(0))?;
            let records = connection
                .prepare("SELECT scope, tag, failures, failed, passed FROM throttle")?
                .query_map((), count)?
                .collect::<Result<_, _>>()?;
            Ok(Counts { key, records })
        })
        .await
    }

    /// Writes counts and uses.
    pub(super) async fn save(&self, notes: Notes) -> Result<(), StoreError> {
        let saved = self.write(move |transaction| save(transaction, &notes));
        saved.await.map_err(no_change)
    }
}

fn save(transaction: &Transaction<'_>, notes: &Notes) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO throttle (scope, tag, failures, failed, passed)
            VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for it in &notes.counts {
        let (failed, passed) = (sql_time(it.failed), sql_time(it.passed));
        statement.execute((it.scope.as_str(), it.tag, it.failures, failed, passed))?;
    }
    if !notes.counts.is_empty() {
        transaction.execute(
            "DELETE FROM throttle WHERE (scope, tag) IN (
                SELECT scope, tag FROM throttle ORDER BY max(failed, passed) DESC
                LIMIT -1 OFFSET ?1)",
            (COUNTS_KEPT,),
        )?;
    }
    let mut present = transaction.prepare_cached(
        "INSERT INTO identity_use (identity, used, drift) SELECT id, ?2, ?3 FROM identity WHERE id = ?1
            ON CONFLICT DO UPDATE SET used = excluded.used, drift = excluded.drift",
    )?;
    let mut previous = transaction.prepare_cached(
        "INSERT INTO identity_use (identity, previous_used, drift)
            SELECT id, ?2, ?3 FROM identity WHERE id = ?1
            ON CONFLICT DO UPDATE SET previous_used = excluded.previous_used, drift = excluded.drift",
    )?;
    for of in &notes.uses {
        let statement = if of.is_of_previous {
            &mut previous
        } else {
            &mut present
        };
        statement.execute((of.id.0, sql_time(of.used), of.drift))?;
    }
    Ok(())
}

fn count(row: &Row<'_>) -> rusqlite::Result<ThrottleRecord> {
    let name = row.get_ref(0)?.as_str()?;
    let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
    Ok(ThrottleRecord {
        scope: scope.ok_or(rusqlite::Error::InvalidQuery)?,
        tag: row.get(1)?,
        failures: row.get(2)?,
        failed: unix_time(row.get(3)?),
        passed: unix_time(row.get(4)?),
    })
}

/// None of these writes can meet a principal that is taken.
fn no_change(error: ChangeError) -> StoreError {
    match error {
        ChangeError::Store(error) => error,
        ChangeError::Taken => StoreError::Database("a row could not be written".into()),
    }
}
