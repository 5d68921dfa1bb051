//! The change log: the commits of all processes on all nodes.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::log::LAST;
use super::pool::{Pools, Purpose};
use super::query::{Schema, query, query_once};
use super::rows::key_id;
use super::timeline::TIMELINE;
use crate::database::{Changes, News, Seq, Tail};
use crate::key_ring::KeyRing;
use crate::record::{principal, sql_time};
use crate::seal::KeyId;
use realmgate_core::{StoreError, UnixTime};

/// The maximum number of changes read at once. A process that has missed more drops its whole
/// cache.
const CHANGES: i64 = 20_000;

/// The number of polls after which a missing key is reported again. A rotation waits for several of
/// these.
const REPORT_EVERY: u32 = 5;

/// The interval of checks of the other hosts for a second primary.
const LOOK_AROUND_EVERY: Duration = Duration::from_secs(5);

/// Polls the change log, over a connection of its own.
pub(super) struct PostgresTail {
    pools: Arc<Pools>,
    schema: Schema,
    ring: Arc<KeyRing>,
    origin: Option<Origin>,
    keys: Vec<KeyId>,
    looks: u32,
    looked_around: Instant,
}

/// The timeline of the change log. In another one, its positions have another meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    timeline: String,
    /// The OID of the identity table, which differs after a restore.
    table: i64,
}

/// The result of a poll.
struct Look {
    last: Seq,
    first: Option<i64>,
    origin: Origin,
    keys: Vec<KeyId>,
}

impl PostgresTail {
    pub(super) fn new(pools: Arc<Pools>, schema: Schema, ring: Arc<KeyRing>) -> Self {
        Self {
            pools,
            schema,
            ring,
            origin: None,
            keys: Vec::new(),
            looks: 0,
            looked_around: Instant::now(),
        }
    }

    /// Starts at the last position of the change log, and returns it.
    pub(super) async fn begin(&mut self) -> Result<Seq, StoreError> {
        let look = self.look().await?;
        self.origin = Some(look.origin);
        Ok(look.last)
    }

    async fn look(&self) -> Result<Look, Fault> {
        let sql = format!(
            "SELECT {LAST}, (SELECT min(seq) FROM @.change), {TIMELINE},
                '@.identity'::regclass::oid::bigint,
                (SELECT coalesce(pg_catalog.array_agg(id ORDER BY id), '{{}}') FROM @.sealing_key),
                EXISTS (SELECT FROM @.timeline WHERE id = {TIMELINE})"
        );
        let sql = self.schema.sql(&sql);
        let looked = query(&self.pools, Purpose::Tail, &sql, &[]).await;
        let rows = looked.inspect_err(|fault| {
            // The other connections lead to the same server. They are closed before requests wait
            // for them.
            if matches!(fault, Fault::Timeout) {
                self.pools.renew(self.pools.generation(), fault);
            }
        })?;
        let row = rows.first().ok_or(Fault::Closed)?;
        let keys: Vec<&[u8]> = row.try_get(4)?;
        let timeline: &str = row.try_get(2)?;
        let seen = self.pools.connector().see(timeline);
        seen.inspect_err(|fault| self.pools.renew(self.pools.generation(), fault))?;
        if !row.try_get::<_, bool>(5)? {
            self.begin_timeline().await;
        }
        Ok(Look {
            last: Seq(row.try_get(0)?),
            first: row.try_get(1)?,
            origin: Origin {
                timeline: timeline.to_owned(),
                table: row.try_get(3)?,
            },
            keys: keys.into_iter().map(key_id).collect::<Result<_, _>>()?,
        })
    }

    /// Records the start of the timeline. Only the first record counts. The time is that of this
    /// node: tokens are checked by the clocks of the nodes, and the database may be far off.
    async fn begin_timeline(&self) {
        // Does not wait for standbys, so that the change log is read even while there are none.
        let sql = format!(
            "WITH here AS (SELECT set_config('synchronous_commit', 'local', true))
            INSERT INTO @.timeline
                SELECT {TIMELINE}, $1 FROM here
                ON CONFLICT (id) DO NOTHING"
        );
        let sql = self.schema.sql(&sql);
        let now = sql_time(UnixTime::from(SystemTime::now()));
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&now, Type::INT8)];
        if let Err((_, fault)) = query_once(&self.pools, Purpose::Tail, &sql, &parameters).await {
            let error = StoreError::from(fault);
            tracing::debug!(%error, "cannot record the start of a timeline");
        }
    }

    async fn changes(&self, seen: Seq, look: &Look) -> Result<Changes, Fault> {
        if Some(&look.origin) != self.origin.as_ref() {
            return Ok(Changes::Unknown(look.last));
        }
        if look.last == seen {
            return Ok(Changes::None);
        }
        // Behind the start of the log, or ahead of its end, as after restoring a backup. Positions
        // may have gaps where a transaction was rolled back.
        if look.last < seen || look.first.is_none_or(|first| first > seen.0 + 1) {
            return Ok(Changes::Unknown(look.last));
        }
        let sql = "SELECT name, realm, seq FROM @.change WHERE seq > $1 ORDER BY seq LIMIT $2";
        let sql = self.schema.sql(sql);
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&seen.0, Type::INT8), (&(CHANGES + 1), Type::INT8)];
        let rows = query(&self.pools, Purpose::Tail, &sql, &parameters).await?;
        if i64::try_from(rows.len()).unwrap_or(i64::MAX) > CHANGES {
            return Ok(Changes::Unknown(look.last));
        }
        let mut changed = Vec::with_capacity(rows.len());
        // Includes commits made after the poll.
        let mut last = look.last;
        for row in &rows {
            let seq = Seq(row.try_get(2)?);
            last = last.max(seq);
            // A name that is not valid, written with psql, is not in the cache.
            if let Ok(who) = principal(row.try_get(0)?, row.try_get(1)?) {
                changed.push((who, seq));
            }
        }
        Ok(Changes::Some(changed, last))
    }

    /// Returns the keys that the database names and that are not available here.
    fn missing(&mut self, keys: Vec<KeyId>) -> Vec<KeyId> {
        self.ring.refresh(&keys);
        let is_due = keys != self.keys || self.looks.is_multiple_of(REPORT_EVERY);
        self.keys = keys;
        let is_missing = |id: &&KeyId| self.ring.find(**id).is_none();
        match is_due {
            true => self.keys.iter().filter(is_missing).copied().collect(),
            false => Vec::new(),
        }
    }
}

#[async_trait]
impl Tail for PostgresTail {
    async fn news(&mut self, seen: Seq) -> Result<News, StoreError> {
        self.looks = self.looks.wrapping_add(1);
        let connector = self.pools.connector();
        let is_due = self.looked_around.elapsed() >= LOOK_AROUND_EVERY;
        if is_due && connector.server().hosts() > 1 {
            self.looked_around = Instant::now();
            tokio::spawn(connector.clone().look_around());
        }
        let look = self.look().await?;
        let changes = self.changes(seen, &look).await?;
        self.origin = Some(look.origin);
        Ok(News {
            changes,
            missing: self.missing(look.keys),
        })
    }
}
