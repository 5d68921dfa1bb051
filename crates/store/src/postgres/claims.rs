//! The right to evaluate attempts beyond the free ones, one per delay over all nodes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::pool::Purpose;
use super::query::{Postgres, query};
use super::transaction::Writing;
use realmgate_core::{Claim, ClaimOutcome, StoreError, Sweep};

/// The number of attempts that may wait for a claim at the same time. A flood of attempts at the end
/// of a delay takes no more connections.
pub(super) const CLAIMING: usize = 16;

/// How often, and at what interval, an attempt looks whether another one has ended.
const TRIES: u8 = 30;
const TRY_EVERY: Duration = Duration::from_millis(10);

/// The clock of the server, in milliseconds since 1970.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// The longest time in milliseconds in which an attempt is evaluated. After that, its process is
/// gone.
const OPEN: i64 = 2000;

/// The longest time in milliseconds for which a claim holds. One that ends later is from before the
/// clock of the server was set back.
const LONGEST: i64 = 86_400_000;

/// The shortest delay.
const SHORTEST: Duration = Duration::from_secs(1);

/// The outcome of one statement.
enum Outcome {
    Ours(i64),
    /// Another attempt is being evaluated.
    Open,
    /// There is no claim for this time.
    Closed(Duration),
}

impl Postgres {
    /// Claims an attempt.
    pub(super) async fn wait_for_claim(&self, claim: Claim) -> Result<ClaimOutcome, StoreError> {
        let outcome = self.try_for_a_while(claim).await?;
        let [granted, denied] = &self.claims;
        let count = match outcome {
            ClaimOutcome::Granted(_) => granted,
            ClaimOutcome::Denied(_) => denied,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(outcome)
    }

    async fn try_for_a_while(&self, claim: Claim) -> Result<ClaimOutcome, StoreError> {
        let Ok(_waiting) = self.claiming.try_acquire() else {
            return Ok(ClaimOutcome::Denied(SHORTEST));
        };
        for _ in 0..TRIES {
            match self.try_to_claim(&claim).await? {
                Outcome::Ours(number) => return Ok(ClaimOutcome::Granted(number)),
                Outcome::Open => tokio::time::sleep(TRY_EVERY).await,
                Outcome::Closed(left) => return Ok(ClaimOutcome::Denied(left.max(SHORTEST))),
            }
        }
        Ok(ClaimOutcome::Denied(SHORTEST))
    }

    async fn try_to_claim(&self, claim: &Claim) -> Result<Outcome, Fault> {
        let sql = format!(
            "WITH won AS (
                INSERT INTO @.claim AS c (scope, tag, until, is_open)
                VALUES ($1, $2, {NOW} + {OPEN}, true)
                ON CONFLICT (scope, tag) DO UPDATE SET until = excluded.until, is_open = true
                    WHERE c.until <= {NOW} OR c.until > {NOW} + {LONGEST}
                RETURNING until)
            SELECT (SELECT until FROM won), c.is_open, c.until - {NOW}
                FROM (SELECT) one LEFT JOIN @.claim c ON c.scope = $1 AND c.tag = $2"
        );
        let (scope, tag) = (claim.scope.as_str(), claim.tag.as_slice());
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&scope, Type::TEXT), (&tag, Type::BYTEA)];
        let sql = self.schema.sql(&sql);
        // Without a response it may have been executed. A repetition then finds its own claim, and
        // the attempt is not evaluated.
        let rows = query(&self.pools, Purpose::Request, &sql, &parameters).await?;
        let row = rows.first().ok_or(Fault::Closed)?;
        if let Some(until) = row.try_get(0)? {
            return Ok(Outcome::Ours(until));
        }
        // The row as it was when the statement began. Without one, another attempt has just begun.
        let left: Option<i64> = row.try_get(2)?;
        let left = left.and_then(|left| u64::try_from(left).ok());
        Ok(match (row.try_get::<_, Option<bool>>(1)?, left) {
            (Some(false), Some(left)) => Outcome::Closed(Duration::from_millis(left)),
            _ => Outcome::Open,
        })
    }

    /// Ends the claim that is open until `granted`: at the end of the delay after a guess, otherwise
    /// now. If it has ended by itself and another node has one, a guess still begins the delay, and
    /// the other node's claim or delay is never cut short.
    pub(super) async fn end_claim(
        &self,
        claim: Claim,
        granted: i64,
        is_guess: bool,
    ) -> Result<(), StoreError> {
        let lasts = i64::try_from(claim.lasts.as_millis()).unwrap_or(LONGEST);
        let (sql, number) = if is_guess {
            let sql = format!(
                "UPDATE @.claim SET until = CASE WHEN is_open THEN {NOW} + $3
                    ELSE least(greatest(until, {NOW} + $3), {NOW} + {LONGEST}) END, is_open = false
                    WHERE scope = $1 AND tag = $2"
            );
            (sql, lasts.min(LONGEST))
        } else {
            let sql =
                "DELETE FROM @.claim WHERE scope = $1 AND tag = $2 AND is_open AND until = $3";
            (sql.to_owned(), granted)
        };
        let (scope, tag) = (claim.scope.as_str(), claim.tag.as_slice());
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (&scope, Type::TEXT),
            (&tag, Type::BYTEA),
            (&number, Type::INT8),
        ];
        let sql = self.schema.sql(&sql);
        query(&self.pools, Purpose::Request, &sql, &parameters).await?;
        Ok(())
    }
}

/// Deletes the claims that have ended, and those that end first of each scope with more than needed.
pub(super) async fn sweep_claims(writing: &Writing, sweep: Sweep) -> Result<(), Fault> {
    let kept = i64::try_from(sweep.kept).unwrap_or(i64::MAX);
    let sql = format!("DELETE FROM @.claim WHERE until <= {NOW}");
    writing.execute(&sql, &[]).await?;
    let sql = "DELETE FROM @.claim WHERE scope = $1 AND until < (
        SELECT until FROM @.claim WHERE scope = $1 ORDER BY until DESC LIMIT 1 OFFSET $2)";
    for scope in ["known", "unknown"] {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&scope, Type::TEXT), (&kept, Type::INT8)];
        writing.execute(sql, &parameters).await?;
    }
    Ok(())
}
