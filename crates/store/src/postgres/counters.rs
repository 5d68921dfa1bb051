//! One-time use, failure counts, and last uses.

use std::collections::HashMap;
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::claims::sweep_claims;
use super::clock::{Asked, ServerClock};
use super::fault::{Fault, no_change};
use super::pool::Purpose;
use super::query::{Postgres, query};
use super::timeline::{TIMELINE, Timeline};
use super::transaction::{DURABLE, Lock, Writing};
use crate::kept::{READ, READ_BY_ALL, SWEPT};
use crate::record::{RecordError, sql_time, unix_time};
use crate::spent::used_steps;
use realmgate_core::{
    Claim, ClaimOutcome, Counters, Counts, IdentityId, Scope, Step, StoreError, Sweep,
    ThrottleRecord, UnixTime, UsageBatch, Use, UsedSteps,
};

/// The number of attempts to use a step while others use steps of the same identity.
const TRIES: u8 = 16;

#[async_trait]
impl Counters for Postgres {
    fn failure_time(&self, _: UnixTime) -> UnixTime {
        self.clock.now()
    }

    async fn use_step(&self, id: IdentityId, step: Step, window: u8) -> Result<bool, StoreError> {
        let tries = async {
            for _ in 0..TRIES {
                if let Some(is_had) = self.try_to_use(id, step, window).await? {
                    return Ok(is_had);
                }
            }
            Err(Fault::Timeout)
        };
        let limit = self.pools.timeout();
        let work = async { timeout(limit, tries).await.map_err(|_| Fault::Timeout)? };
        self.written(work).await.map_err(no_change)
    }

    async fn counts(&self, after: i64) -> Result<Counts, StoreError> {
        let sql = format!(
            "SELECT k.key, s.stamp, {} FROM @.throttle_key k, @.failure_stamp s",
            ServerClock::NOW
        );
        let asked = Asked::now();
        let rows = self.read(&sql, &[]).await?;
        let head = || {
            let row = rows.first().ok_or(Fault::Closed)?;
            let key: &[u8] = row.try_get(0)?;
            self.clock.observe(row.try_get(2)?, &asked);
            Ok::<_, Fault>(Counts {
                key: key.try_into().map_err(|_| RecordError::Number)?,
                records: Vec::new(),
                stamp: row.try_get(1)?,
            })
        };
        let mut counts = head()?;
        if counts.stamp == after {
            return Ok(counts);
        }
        // All of them after a failover that lost saved counts.
        let after = if counts.stamp < after { 0 } else { after };
        // All of them at the start. Later, a process that falls further behind soon gets newer
        // ones.
        let limit = if after == 0 { i64::MAX } else { READ };
        let scopes = Scope::ALL.map(Scope::as_str).to_vec();
        let sql = "SELECT f.scope, f.tag, f.paid, f.failed, f.passed FROM pg_catalog.unnest($1) AS s(scope)
            CROSS JOIN LATERAL (SELECT * FROM @.failure f WHERE f.scope = s.scope AND f.stamp > $2
                ORDER BY f.stamp DESC LIMIT $3) f";
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (&scopes, Type::TEXT_ARRAY),
            (&after, Type::INT8),
            (&limit, Type::INT8),
        ];
        let rows = self.read(sql, &parameters).await?;
        let records: Result<_, Fault> = rows.iter().map(record).collect();
        counts.records = records?;
        Ok(counts)
    }

    async fn save(&self, batch: UsageBatch) -> Result<(), StoreError> {
        let work = async {
            let writing = self.begin(Lock::None).await?;
            if !batch.counts.is_empty() {
                save_counts(&writing, &batch.counts).await?;
            }
            for is_of_previous in [false, true] {
                save_uses(&writing, &batch.uses, is_of_previous).await?;
            }
            if let Some(needed) = batch.sweep {
                sweep(&writing, needed).await?;
                sweep_claims(&writing, needed).await?;
            }
            writing.commit().await
        };
        self.written(work).await.map_err(no_change)
    }

    fn has_claims(&self) -> bool {
        true
    }

    async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, StoreError> {
        self.wait_for_claim(claim).await
    }

    async fn end(&self, claim: Claim, granted: i64, is_guess: bool) -> Result<(), StoreError> {
        self.end_claim(claim, granted, is_guess).await
    }
}

impl Postgres {
    /// Returns `None` if another process has used a step of this identity in the meantime.
    async fn try_to_use(
        &self,
        id: IdentityId,
        step: Step,
        window: u8,
    ) -> Result<Option<bool>, Fault> {
        let sql = format!(
            "SELECT s.steps, i.period, t.since, {TIMELINE} FROM @.identity i
                LEFT JOIN @.spent s ON s.identity = i.id
                LEFT JOIN @.timeline t ON t.id = {TIMELINE} WHERE i.id = $1"
        );
        let sql = self.schema.sql(&sql);
        let pools = &self.pools;
        let rows = query(pools, Purpose::Request, &sql, &[(&id.0, Type::INT8)]).await?;
        let Some(row) = rows.first() else {
            // Deleted in the meantime.
            return Ok(Some(false));
        };
        let old: Option<&[u8]> = row.try_get(0)?;
        let timeline: &str = row.try_get(3)?;
        pools.connector().see(timeline)?;
        let since = match row.try_get(2)? {
            Some(since) => since,
            None => self.begin_timeline(timeline).await?,
        };
        let period = u64::from(row.try_get::<_, i32>(1)?.unsigned_abs().max(1));
        if is_doubtful(step, window, period, since) {
            tracing::info!(
                id = id.0,
                "a one-time token is rejected: it may have been used before the failover of the database"
            );
            return Ok(Some(false));
        }
        let mut spent = match old {
            None => UsedSteps::default(),
            Some(bytes) => used_steps(id, bytes)?,
        };
        if !spent.use_step(step, window) {
            return Ok(Some(false));
        }
        let sql = format!(
            "WITH durable AS (SELECT {DURABLE})
            INSERT INTO @.spent (identity, steps)
                SELECT $1, $2 FROM durable WHERE {TIMELINE} = $4
                ON CONFLICT (identity) DO UPDATE SET steps = excluded.steps WHERE spent.steps = $3"
        );
        let new = spent.to_bytes();
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&id.0, Type::INT8),
            (&new, Type::BYTEA),
            (&old, Type::BYTEA),
            (&timeline, Type::TEXT),
        ];
        let sql = self.schema.sql(&sql);
        let spent = self.spend_with(&sql, &parameters).await?;
        // Used on a server that is not the primary any more.
        match pools
            .connector()
            .timelines()
            .is_old(Timeline::parse(timeline)?)
        {
            true => Err(Fault::Unknown),
            false => Ok(spent),
        }
    }

    /// Runs the statement that uses a step. It is not retried: without a response it may have been
    /// executed.
    async fn spend_with(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Option<bool>, Fault> {
        let lease = self.pools.lease(Purpose::Request).await?;
        let work = async { Ok::<_, Fault>(lease.client()?.execute_typed(sql, parameters).await?) };
        match timeout(self.pools.timeout(), work).await {
            Ok(Ok(written)) => {
                lease.put_back();
                Ok((written > 0).then_some(true))
            }
            Ok(Err(fault)) if fault.is_of_connection() => {
                self.pools.renew(lease.generation(), &fault);
                Err(Fault::Unknown)
            }
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(Fault::Unknown),
        }
    }

    /// Records the start of a timeline, by the clock of this node. Only the first record counts.
    pub(super) async fn begin_timeline(&self, timeline: &str) -> Result<i64, Fault> {
        let writing = self.begin(Lock::None).await?;
        let sql = "INSERT INTO @.timeline VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
        let now = sql_time(UnixTime::from(SystemTime::now()));
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&timeline, Type::TEXT), (&now, Type::INT8)];
        writing.execute(sql, &parameters).await?;
        let sql = "SELECT since FROM @.timeline WHERE id = $1";
        let row = writing.first(sql, &[(&timeline, Type::TEXT)]).await?;
        let since = row.ok_or(Fault::Closed)?.try_get(0)?;
        writing.commit().await?;
        Ok(since)
    }
}

/// Returns whether a token may have been used in a transaction lost in a failover, that is, whether
/// it was valid then.
fn is_doubtful(step: Step, window: u8, period: u64, since: i64) -> bool {
    let since = u64::try_from(since).unwrap_or(0);
    since > 0 && step.0 <= since / period + u64::from(window)
}

/// Adds up failures that several processes have counted since they last read the counts.
async fn save_counts(writing: &Writing, counts: &[ThrottleRecord]) -> Result<(), Fault> {
    // One writer at a time until its commit, so that a visible stamp covers everything saved under
    // it.
    let sql = "UPDATE @.failure_stamp SET stamp = stamp + 1 RETURNING stamp";
    let row = writing.first(sql, &[]).await?.ok_or(Fault::Closed)?;
    let stamp: i64 = row.try_get(0)?;
    // Only the last record of each tag, because one statement cannot write a row twice.
    let last: HashMap<_, _> = counts
        .iter()
        .map(|it| ((it.scope.as_str(), it.tag), it))
        .collect();
    let scopes: Vec<&str> = last.keys().map(|(scope, _)| *scope).collect();
    let tags: Vec<&[u8]> = last.values().map(|it| it.tag.as_slice()).collect();
    let of = |time: fn(&ThrottleRecord) -> UnixTime| {
        let in_sql = |it: &&ThrottleRecord| sql_time(time(it));
        last.values().map(in_sql).collect()
    };
    let paid: Vec<i64> = of(|it| it.paid);
    let failed: Vec<i64> = of(|it| it.failed);
    let passed: Vec<i64> = of(|it| it.passed);
    let added: Vec<Option<i64>> = last.values().map(|it| it.added).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
        (&stamp, Type::INT8),
        (&scopes, Type::TEXT_ARRAY),
        (&tags, Type::BYTEA_ARRAY),
        (&paid, Type::INT8_ARRAY),
        (&failed, Type::INT8_ARRAY),
        (&passed, Type::INT8_ARRAY),
        (&added, Type::INT8_ARRAY),
    ];
    const NEW: &str =
        "unnest($2, $3, $4, $5, $6, $7) AS n(scope, tag, paid, failed, passed, added)";
    let sql = format!(
        "UPDATE @.failure f SET
            paid = CASE WHEN n.added IS NULL THEN n.paid WHEN n.added = 0 THEN f.paid
                ELSE greatest(greatest(f.paid, n.failed) + n.added, 0) END,
            failed = CASE WHEN n.added IS NULL THEN n.failed ELSE greatest(f.failed, n.failed) END,
            passed = CASE WHEN n.added IS NULL THEN n.passed ELSE greatest(f.passed, n.passed) END,
            stamp = $1
        FROM {NEW} WHERE f.scope = n.scope AND f.tag = n.tag"
    );
    writing.execute(&sql, &parameters).await?;
    let sql = format!(
        "INSERT INTO @.failure (scope, tag, paid, failed, passed, stamp)
            SELECT n.scope, n.tag, n.paid, n.failed, n.passed, $1 FROM {NEW} ON CONFLICT DO NOTHING"
    );
    writing.execute(&sql, &parameters).await?;
    Ok(())
}

async fn save_uses(writing: &Writing, uses: &[Use], is_of_previous: bool) -> Result<(), Fault> {
    let of_it = uses.iter().filter(|it| it.is_of_previous == is_of_previous);
    let last: HashMap<i64, &Use> = of_it.map(|it| (it.id.0, it)).collect();
    if last.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = last.keys().copied().collect();
    let used: Vec<i64> = last.values().map(|it| sql_time(it.used)).collect();
    let drift: Vec<i64> = last.values().map(|it| it.drift).collect();
    let column = if is_of_previous {
        "previous_used"
    } else {
        "used"
    };
    // In the same order everywhere, so that two processes do not deadlock.
    let sql = format!(
        "INSERT INTO @.identity_use AS u (identity, {column}, drift)
            SELECT i.id, n.used, n.drift FROM unnest($1, $2, $3) AS n(id, used, drift)
                JOIN @.identity i ON i.id = n.id ORDER BY i.id
            ON CONFLICT (identity) DO UPDATE SET
                {column} = greatest(u.{column}, excluded.{column}), drift = excluded.drift"
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&ids, Type::INT8_ARRAY),
        (&used, Type::INT8_ARRAY),
        (&drift, Type::INT8_ARRAY),
    ];
    writing.execute(&sql, &parameters).await?;
    Ok(())
}

/// Deletes records that are not needed.
async fn sweep(writing: &Writing, sweep: Sweep) -> Result<(), Fault> {
    if sweep.forgets {
        forget(writing, sweep).await?;
    }
    let kept = i64::try_from(sweep.kept).unwrap_or(i64::MAX);
    let sql = "DELETE FROM @.failure WHERE scope = $1 AND stamp < (
        SELECT stamp FROM @.failure WHERE scope = $1 ORDER BY stamp DESC LIMIT 1 OFFSET $2)";
    for scope in Scope::ALL {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&scope.as_str(), Type::TEXT), (&kept, Type::INT8)];
        writing.execute(sql, &parameters).await?;
    }
    Ok(())
}

/// Deletes records of failures that are forgotten.
async fn forget(writing: &Writing, sweep: Sweep) -> Result<(), Fault> {
    // Looked at again when the row is locked: another process may have saved a failure since.
    let sql = "DELETE FROM @.failure WHERE failed < $1 AND passed < $2
        AND (scope, tag) IN (SELECT scope, tag FROM @.failure
            WHERE failed < $1 AND passed < $2
                AND (failed > 0 OR passed > 0
                    OR stamp < (SELECT stamp FROM @.failure_stamp) - $3) LIMIT $4)";
    let before = [sweep.failed_before, sweep.passed_before];
    let [failed, passed] = before.map(sql_time);
    let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
        (&failed, Type::INT8),
        (&passed, Type::INT8),
        (&READ_BY_ALL, Type::INT8),
        (&SWEPT, Type::INT8),
    ];
    writing.execute(sql, &parameters).await?;
    Ok(())
}

fn record(row: &Row) -> Result<ThrottleRecord, Fault> {
    let name: &str = row.try_get(0)?;
    let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
    let tag: &[u8] = row.try_get(1)?;
    Ok(ThrottleRecord {
        scope: scope.ok_or(RecordError::Number)?,
        tag: tag.try_into().map_err(|_| RecordError::Number)?,
        paid: unix_time(row.try_get(2)?),
        added: Some(0),
        failed: unix_time(row.try_get(3)?),
        passed: unix_time(row.try_get(4)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_doubtful_while_it_could_have_been_used_before_the_failover() {
        // The failover was in step 100.
        let is_doubtful = |step| is_doubtful(Step(step), 1, 30, 3015);
        assert!(is_doubtful(99) && is_doubtful(100) && is_doubtful(101));
        assert!(!is_doubtful(102));
        assert!(!super::is_doubtful(Step(0), 1, 30, 0));
    }
}
