//! Used steps, failure counts and last uses of identities.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, Transaction};

use super::commit::Patience;
use super::query::Sqlite;
use super::rows::conversion;
use crate::kept::{READ, READ_BY_ALL, SWEPT};
use crate::record::{sql_time, unix_time};
use crate::spent::used_steps;
use realmgate_core::{
    ChangeError, Counters, Counts, IdentityId, Scope, Step, StoreError, Sweep, ThrottleRecord,
    UnixTime, UsageBatch, UsedSteps,
};

#[async_trait]
impl Counters for Sqlite {
    fn failure_time(&self, _: UnixTime) -> UnixTime {
        UnixTime::from_secs(self.clock.now().as_secs())
    }

    async fn use_step(&self, id: IdentityId, step: Step, window: u8) -> Result<bool, StoreError> {
        // Wait as long again as for other writes. Then the request is denied, though the token may
        // be used up.
        let patience = Patience::AtMost(self.timeout * 2);
        let spent = self.write_within(self.timeout, patience, move |transaction| {
            let bytes: Option<Vec<u8>> = transaction
                .prepare_cached("SELECT steps FROM spent WHERE identity = ?1")?
                .query_row((id.0,), |row| row.get(0))
                .optional()?;
            let mut spent = match bytes {
                None => UsedSteps::default(),
                Some(bytes) => used_steps(id, &bytes).map_err(conversion)?,
            };
            let is_had = spent.use_step(step, window);
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

    async fn counts(&self, after: i64) -> Result<Counts, StoreError> {
        self.read(move |connection| {
            let snapshot = connection.transaction()?;
            let one = |sql| snapshot.prepare_cached(sql);
            let key = one("SELECT key FROM throttle_key")?.query_row((), |row| row.get(0))?;
            let stamp = one("SELECT stamp FROM failure_stamp")?.query_row((), |row| row.get(0))?;
            let mut counts = Counts {
                key,
                records: Vec::new(),
                stamp,
            };
            if stamp == after {
                return Ok(counts);
            }
            // At the start, read all. Later, a process that has fallen further behind soon gets
            // newer ones.
            let limit = if after == 0 { i64::MAX } else { READ };
            let mut newer = one("SELECT scope, tag, paid, failed, passed FROM failure
                    WHERE scope = ?1 AND stamp > ?2 ORDER BY stamp DESC LIMIT ?3")?;
            for scope in Scope::ALL {
                for record in newer.query_map((scope.as_str(), after, limit), record)? {
                    counts.records.push(record?);
                }
            }
            Ok(counts)
        })
        .await
    }

    async fn save(&self, batch: UsageBatch) -> Result<(), StoreError> {
        let saved = self.write(move |transaction| {
            save(transaction, &batch)?;
            batch.sweep.map_or(Ok(()), |it| sweep(transaction, it))
        });
        saved.await.map_err(no_change)
    }
}

fn save(transaction: &Transaction<'_>, batch: &UsageBatch) -> rusqlite::Result<()> {
    if !batch.counts.is_empty() {
        save_counts(transaction, &batch.counts)?;
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
    for of in &batch.uses {
        let statement = if of.is_of_previous {
            &mut previous
        } else {
            &mut present
        };
        statement.execute((of.id.0, sql_time(of.used), of.drift))?;
    }
    Ok(())
}

/// Adds up failures that several processes have counted since they last read.
fn save_counts(transaction: &Transaction<'_>, counts: &[ThrottleRecord]) -> rusqlite::Result<()> {
    let stamp: i64 = transaction
        .prepare_cached("UPDATE failure_stamp SET stamp = stamp + 1 RETURNING stamp")?
        .query_row((), |row| row.get(0))?;
    let mut add = transaction.prepare_cached(
        "INSERT INTO failure (scope, tag, paid, failed, passed, stamp)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT DO UPDATE SET
                paid = CASE ?7 WHEN 0 THEN paid ELSE max(max(paid, excluded.failed) + ?7, 0) END,
                failed = max(failed, excluded.failed),
                passed = max(passed, excluded.passed),
                stamp = excluded.stamp",
    )?;
    let mut replace = transaction.prepare_cached(
        "INSERT OR REPLACE INTO failure (scope, tag, paid, failed, passed, stamp)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for it in counts {
        let [paid, failed, passed] = [it.paid, it.failed, it.passed].map(sql_time);
        let scope = it.scope.as_str();
        match it.added {
            Some(added) => add.execute((scope, it.tag, paid, failed, passed, stamp, added))?,
            None => replace.execute((scope, it.tag, paid, failed, passed, stamp))?,
        };
    }
    Ok(())
}

/// Deletes counts that are not needed.
fn sweep(transaction: &Transaction<'_>, sweep: Sweep) -> rusqlite::Result<()> {
    if sweep.forgets {
        forget(transaction, sweep)?;
    }
    let kept = i64::try_from(sweep.kept).unwrap_or(i64::MAX);
    let mut statement = transaction.prepare_cached(
        "DELETE FROM failure WHERE scope = ?1 AND stamp < (
            SELECT stamp FROM failure WHERE scope = ?1 ORDER BY stamp DESC LIMIT 1 OFFSET ?2)",
    )?;
    for scope in Scope::ALL {
        statement.execute((scope.as_str(), kept))?;
    }
    Ok(())
}

/// Deletes counts of failures that are forgotten.
fn forget(transaction: &Transaction<'_>, sweep: Sweep) -> rusqlite::Result<()> {
    let mut forgotten = transaction.prepare_cached(
        "DELETE FROM failure WHERE (scope, tag) IN (SELECT scope, tag FROM failure
            WHERE failed < ?1 AND passed < ?2
                AND (failed > 0 OR passed > 0
                    OR stamp < (SELECT stamp FROM failure_stamp) - ?3) LIMIT ?4)",
    )?;
    let [failed, passed] = [sweep.failed_before, sweep.passed_before].map(sql_time);
    forgotten.execute((failed, passed, READ_BY_ALL, SWEPT))?;
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<ThrottleRecord> {
    let name = row.get_ref(0)?.as_str()?;
    let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
    Ok(ThrottleRecord {
        scope: scope.ok_or(rusqlite::Error::InvalidQuery)?,
        tag: row.get(1)?,
        paid: unix_time(row.get(2)?),
        added: Some(0),
        failed: unix_time(row.get(3)?),
        passed: unix_time(row.get(4)?),
    })
}

/// These writes cannot conflict with an existing principal.
pub(super) fn no_change(error: ChangeError) -> StoreError {
    match error {
        ChangeError::Store(error) => error,
        ChangeError::Taken | ChangeError::Stale => {
            StoreError::Database("a row could not be written".into())
        }
    }
}
