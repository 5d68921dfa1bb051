//! The cache in front of the database, which makes decisions local.
//!
//! Known and unknown principals are in two caches with limits of their own, so that invented names
//! evict no identity. Concurrent requests for the same uncached principal share one read.
//!
//! **Staleness.** The change log is polled, so a write by any process takes effect here within a
//! second. A read carries the position of the log that it reflects; if the log has overtaken it, it
//! is used once and not cached. While the database fails, cached identities and unknown names
//! stay valid for at most `stale_if_error`, counted from the last time that it worked.

mod administration;
mod bounded;
mod counters;
mod entry;
mod memory;
mod nodes;
mod options;
mod own;
mod realms;
mod seeds;
mod sessions;

use std::collections::HashMap;
use std::collections::hash_map::RandomState as SipHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use foldhash::quality::RandomState;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use quick_cache::UnitWeighter;
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::AbortHandle;

use super::database::{Changes, Database, Seq, Tail};
use super::metrics::{CacheCounts, CacheMetrics, Evicted, Observer, StoreMetrics};
use super::outage::{Outage, STALL};
use realmgate_core::{
    Identities, Identity, Principal, PrincipalRef, Recall, Store, StoreError, UnixTime,
};

use bounded::bounded;
use entry::{ByPrincipal, Entry, Finding, UnknownEntry};
pub use options::CacheOptions;
use own::Own;
use realms::Realms;
use seeds::{Deadlines, Forgetting};

/// The interval at which the change log is polled.
const TAIL_EVERY: Duration = Duration::from_millis(200);

/// How long the change log may be unreadable before the store is not ready.
const UNREAD: Duration = Duration::from_secs(5);

/// The time after a failed read during which a cached principal or unknown name is not read again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The number of identities from which a read waits for others like it, and how long.
const LONG_LIST: u32 = 1000;
const LISTING: Duration = Duration::from_secs(30);

/// The store with its cache. Dropping it ends the background task.
pub struct Cached {
    inner: Arc<Inner>,
    tail: AbortHandle,
}

impl Cached {
    pub(super) async fn start(
        database: Box<dyn Database>,
        options: CacheOptions,
    ) -> Result<Arc<Self>, StoreError> {
        let (tail, seen) = database.follow().await?;
        let deadlines = Arc::default();
        let forgetting = Forgetting {
            deadlines: Arc::clone(&deadlines),
            evicted: Evicted::default(),
        };
        let (evicted, evicted_unknown) = (forgetting.evicted.clone(), Evicted::default());
        let (capacity, unknown_capacity) = (options.capacity, options.unknown_capacity);
        let inner = Arc::new(Inner {
            database,
            options,
            known: bounded(capacity, RandomState::default(), forgetting)?,
            unknown: bounded(
                unknown_capacity,
                SipHasher::default(),
                evicted_unknown.clone(),
            )?,
            counts: CacheCounts::default(),
            evicted,
            evicted_unknown,
            deadlines,
            realms: Realms::default(),
            listing: Semaphore::new(1),
            flights: Mutex::default(),
            seen: AtomicI64::new(seen.0),
            started: Instant::now(),
            reading_fails_since: Outage::default(),
            tail_fails_since: Outage::default(),
            log_read: AtomicU64::default(),
            own: Own::default(),
        });
        let tail = tokio::spawn(Inner::follow(Arc::clone(&inner), tail)).abort_handle();
        Ok(Arc::new(Self { inner, tail }))
    }

    /// Sets the function that is called after each database operation. Only the first call has an
    /// effect.
    pub fn observe(&self, observer: Observer) {
        let _ = self.inner.database.metrics().observer.set(observer);
    }

    /// Returns the current counts.
    pub fn metrics(&self) -> StoreMetrics {
        let inner = &*self.inner;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let database = inner.database.metrics();
        StoreMetrics {
            known: CacheMetrics {
                hits: of(&inner.counts.known),
                evictions: inner.evicted.load(),
                entries: inner.known.len() as u64,
            },
            unknown: CacheMetrics {
                hits: of(&inner.counts.unknown),
                evictions: inner.evicted_unknown.load(),
                entries: inner.unknown.len() as u64,
            },
            misses: of(&inner.counts.misses),
            failures: of(&database.failures),
            log_age: inner.age_of_log(),
            pool: inner.database.pool(),
        }
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        self.tail.abort();
    }
}

#[async_trait]
impl Identities for Cached {
    fn recall(&self, who: PrincipalRef<'_>) -> Recall {
        let inner = &*self.inner;
        let now = inner.moment();
        if inner.is_outage_too_long(now, who) {
            return Recall::Nothing;
        }
        if let Some((identity, entry)) = inner.known(who) {
            if entry.age(now) < inner.options.ttl {
                CacheCounts::count(&inner.counts.known);
                return Recall::Known(identity);
            }
        } else if let Some(unknown) = inner.unknown.get(&who)
            && unknown.entry.age(now) < inner.options.unknown_ttl
        {
            CacheCounts::count(&inner.counts.unknown);
            return Recall::Unknown;
        }
        CacheCounts::count(&inner.counts.misses);
        Recall::Nothing
    }

    fn recall_unknown(&self, who: PrincipalRef<'_>) {
        std::hint::black_box(self.inner.unknown.get(&who));
    }

    async fn identity(&self, who: PrincipalRef<'_>) -> Result<Option<Arc<Identity>>, StoreError> {
        Inner::flight(&self.inner, who.to_owned()).await
    }

    fn is_failing(&self) -> bool {
        self.inner.reading_fails_since.is_on()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        if inner.tail_fails_since.is_longer(inner.started, UNREAD) {
            return Err(StoreError::Database("the change log cannot be read".into()));
        }
        inner.database.ping().await
    }
}

#[async_trait]
impl Store for Cached {
    async fn checkpoint(&self) {
        self.inner.forget_node().await;
        self.inner.database.checkpoint().await;
    }
}

type Reading = Result<Option<Arc<Identity>>, StoreError>;

struct Inner {
    database: Box<dyn Database>,
    options: CacheOptions,
    /// Holds identities of the store only, so that no caller can choose names that collide: a fast
    /// hash suffices.
    known: Cache<ByPrincipal, Entry, UnitWeighter, RandomState, Forgetting>,
    unknown: Cache<Principal, UnknownEntry, UnitWeighter, SipHasher, Evicted>,
    counts: CacheCounts,
    evicted: Evicted,
    evicted_unknown: Evicted,
    deadlines: Arc<Deadlines>,
    realms: Realms,
    /// Lets one long list at a time read, so that decisions find a connection.
    listing: Semaphore,
    /// The reads in progress, at most one per waiting request.
    flights: Mutex<HashMap<Principal, Shared<BoxFuture<'static, Reading>>>>,
    /// The position in the change log that the caches reflect.
    seen: AtomicI64,
    started: Instant,
    reading_fails_since: Outage,
    tail_fails_since: Outage,
    /// When the change log was last read, in nanoseconds after `started`.
    log_read: AtomicU64,
    /// This process, if it serves.
    own: Own,
}

impl Inner {
    /// Returns the time since `started` in nanoseconds.
    fn moment(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Returns the time since the change log was last read.
    fn age_of_log(&self) -> Duration {
        let read = self.log_read.load(Ordering::Relaxed);
        Duration::from_nanos(self.moment().saturating_sub(read))
    }

    /// Returns a cached identity, however long ago it was read.
    fn known(&self, who: PrincipalRef<'_>) -> Option<(Arc<Identity>, Entry)> {
        let finding = Finding::new(who);
        let entry = self.known.get(&finding)?;
        Some((finding.found()?, entry))
    }

    /// Waits until no other long list is read, before one is.
    async fn turn_to_list(&self, limit: u32) -> Result<Option<SemaphorePermit<'_>>, StoreError> {
        if limit < LONG_LIST {
            return Ok(None);
        }
        let turn = tokio::time::timeout(LISTING, self.listing.acquire()).await;
        let turn = turn.map_err(|_| StoreError::Timeout)?;
        turn.map(Some).map_err(|_| StoreError::Closed)
    }

    /// Joins the read of a principal that is in progress, or begins one.
    ///
    /// The read runs in a task of its own, so a caller that goes away does not cancel it for the
    /// others.
    fn flight(this: &Arc<Self>, who: Principal) -> Shared<BoxFuture<'static, Reading>> {
        let mut flights = this.flights.lock();
        // A read that has ended but is still here has panicked; begin another one.
        if let Some(flight) = flights.get(&who).filter(|flight| flight.peek().is_none()) {
            return flight.clone();
        }
        let task = tokio::spawn({
            let this = Arc::clone(this);
            let who = who.clone();
            async move {
                let reading = this.read(&who).await;
                this.flights.lock().remove(&who);
                reading
            }
        });
        let flight = async { task.await.unwrap_or(Err(StoreError::Closed)) }
            .boxed()
            .shared();
        flights.insert(who, flight.clone());
        flight
    }

    async fn read(&self, who: &Principal) -> Reading {
        let gains = self.database.key_gains();
        let began = self.started.elapsed();
        match self.database.load(who).await {
            Ok(mut loaded) => {
                self.reading_fails_since.end();
                if let Some(identity) = loaded.identity.as_mut().and_then(Arc::get_mut) {
                    self.realms.share(&mut identity.principal);
                }
                self.remember(who, &loaded);
                // Read with fewer keys, and perhaps cached after `forget_partial`.
                if self.database.key_gains() != gains {
                    self.forget(who);
                }
                Ok(loaded.identity)
            }
            // The database works.
            Err(error @ StoreError::Row(_)) => {
                self.reading_fails_since.end();
                self.forget(who);
                tracing::error!(%error, "reading an identity failed");
                Err(error)
            }
            Err(error) => {
                self.reading_fails_since.begin(began);
                if !error.is_lost() {
                    tracing::error!(%error, "reading an identity failed");
                }
                if self.is_outage_too_long(self.moment(), who.as_ref()) {
                    return Err(error);
                }
                // Identities and unknown names alike, so that the response does not tell them
                // apart.
                if let Some((identity, entry)) = self.known(who.as_ref()) {
                    Ok(Some(self.postpone(&identity, entry)))
                } else if let Some(unknown) = self.unknown.get(who) {
                    self.postpone_unknown(who, unknown.entry);
                    Ok(None)
                } else {
                    Err(error)
                }
            }
        }
    }

    async fn follow(this: Arc<Self>, mut tail: Box<dyn Tail>) {
        let mut every = tokio::time::interval(TAIL_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut is_lost, mut gains) = (false, 0);
        loop {
            every.tick().await;
            for identity in this.deadlines.due(UnixTime::from(SystemTime::now())) {
                this.forget(&identity.principal);
            }
            let seen = Seq(this.seen.load(Ordering::SeqCst));
            match tail.news(seen).await {
                Ok(news) => {
                    this.tail_fails_since.end();
                    this.log_read.store(this.moment(), Ordering::Relaxed);
                    this.apply(news.changes);
                    this.database.object(news.missing).await;
                    Self::record_node(&this);
                }
                Err(error) => {
                    let read = Duration::from_nanos(this.log_read.load(Ordering::Relaxed));
                    let is_first = this.tail_fails_since.begin(read);
                    if error.is_lost() && !is_lost {
                        is_lost = true;
                        tracing::error!(%error, "the database is lost to this process; nothing is written any more, and callers that are cached pass for cache.stale_if_error at most; put the right files in place and restart");
                    } else if is_first && !is_lost {
                        tracing::error!(%error, "the change log cannot be read");
                    }
                }
            }
            let gained = this.database.key_gains();
            if std::mem::replace(&mut gains, gained) != gained {
                this.forget_partial();
            }
        }
    }

    fn apply(&self, changes: Changes) {
        match changes {
            Changes::None => {}
            Changes::Some(principals, seq) => {
                self.seen.store(seq.0, Ordering::SeqCst);
                for (principal, changed) in &principals {
                    self.forget_before(principal, *changed);
                }
            }
            Changes::Unknown(seq) => {
                self.seen.store(seq.0, Ordering::SeqCst);
                self.forget_all();
            }
        }
    }

    /// Returns whether cached entries may no longer be used without the database.
    fn is_outage_too_long(&self, now: u64, who: PrincipalRef<'_>) -> bool {
        let limit = match &self.options.admin_realm {
            Some(realm) if **realm == *who.realm() => Duration::ZERO,
            _ => self.options.stale_if_error,
        };
        let read = self.log_read.load(Ordering::Relaxed);
        Duration::from_nanos(now.saturating_sub(read)) > limit.max(STALL)
            || self.reading_fails_since.is_longer(self.started, limit)
            || self.tail_fails_since.is_longer(self.started, limit)
    }
}

#[cfg(test)]
mod tests;
