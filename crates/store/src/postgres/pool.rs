//! Pools of connections. After a failover all connections are replaced.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult, Timeouts,
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Client;

use super::connect::{Connector, Link};
use super::fault::Fault;
use crate::metrics::PoolMetrics;

/// The connections of a process: those for requests, and one that follows the change log.
pub(super) struct Pools {
    connector: Connector,
    timeout: Duration,
    current: ArcSwap<Generation>,
    renewing: Mutex<()>,
}

/// The connections made since the last failover.
struct Generation {
    number: u64,
    pool: Pool<Links>,
    /// A pool of one connection, so that requests never delay the change log.
    tail: Pool<Links>,
}

/// Makes the connections of a pool, and discards those to a server on an old timeline.
struct Links(Connector);

impl Manager for Links {
    type Type = Link;
    type Error = Fault;

    async fn create(&self) -> Result<Link, Fault> {
        self.0.connect().await
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<Fault> {
        match link.client.is_closed() || self.0.timelines().is_old(link.timeline) {
            true => Err(RecycleError::message("closed, or on an old timeline")),
            false => Ok(()),
        }
    }
}

/// The use of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Request,
    Tail,
}

impl Pools {
    pub(super) fn new(connector: Connector, timeout: Duration) -> Result<Self, Fault> {
        let first = Generation::new(&connector, timeout, 0)?;
        Ok(Self {
            connector,
            timeout,
            current: ArcSwap::from_pointee(first),
            renewing: Mutex::default(),
        })
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Returns the number of the current generation.
    pub(super) fn generation(&self) -> u64 {
        self.current.load().number
    }

    /// Returns the maximum wait for a response.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Waits for a connection; a request waits for at most the timeout. If the pool is replaced
    /// meanwhile, the wait begins again at the next one.
    pub(super) async fn lease(&self, purpose: Purpose) -> Result<Lease, Fault> {
        let limit = match purpose {
            Purpose::Request => self.timeout,
            // Otherwise no connection would ever be made to a server that is this slow.
            Purpose::Tail => self.timeout + Connector::longest(),
        };
        let deadline = Instant::now() + limit;
        loop {
            let generation = self.current.load_full();
            let pool = match purpose {
                Purpose::Request => &generation.pool,
                Purpose::Tail => &generation.tail,
            };
            let pool = pool.clone();
            let mut getting = Box::pin(async move { pool.get().await });
            let Ok(got) = timeout_at(deadline, &mut getting).await else {
                // Making a connection may take longer. The next one who waits gets it.
                tokio::spawn(getting);
                return Err(Fault::Timeout);
            };
            let object = match got {
                Err(PoolError::Closed) if self.generation() != generation.number => continue,
                object => object?,
            };
            return Ok(Lease {
                object: Some(object),
                generation: generation.number,
                connector: self.connector.clone(),
            });
        }
    }

    /// Replaces the connections of a generation, unless already done.
    pub(super) fn renew(&self, generation: u64, why: &Fault) {
        let _alone = self.renewing.lock();
        let current = self.current.load_full();
        if current.number != generation {
            return;
        }
        self.connector.forget_host();
        match Generation::new(&self.connector, self.timeout, generation + 1) {
            Ok(next) => {
                self.current.store(Arc::new(next));
                current.pool.close();
                current.tail.close();
                let error = realmgate_core::StoreError::from(why.clone());
                tracing::warn!(
                    %error,
                    generation = generation + 1,
                    "lost the connections to the database; reconnecting"
                );
            }
            Err(fault) => {
                let error = realmgate_core::StoreError::from(fault);
                tracing::error!(%error, "cannot make a connection pool");
            }
        }
    }

    pub(super) fn metrics(&self) -> PoolMetrics {
        let current = self.current.load();
        let status = current.pool.status();
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        PoolMetrics {
            used: number(status.size.saturating_sub(status.available)),
            open: number(status.size),
            waiting: number(status.waiting),
            generation: current.number,
            failovers: self.connector.timelines().failovers(),
            old_servers: self.connector.timelines().rejected(),
            other_writable: self.connector.timelines().others(),
            claims: 0,
            claims_denied: 0,
            clock_offset: 0,
        }
    }
}

impl Generation {
    fn new(connector: &Connector, timeout: Duration, number: u64) -> Result<Self, Fault> {
        let pool = |size| {
            Pool::builder(Links(connector.clone()))
                .runtime(Runtime::Tokio1)
                .max_size(size)
                .timeouts(Timeouts {
                    wait: Some(timeout),
                    create: Some(Connector::longest()),
                    recycle: Some(timeout),
                })
                .build()
                .map_err(|error| Fault::text(error.to_string()))
        };
        Ok(Self {
            number,
            pool: pool(connector.server().connections)?,
            tail: pool(1)?,
        })
    }
}

/// A connection in use. Dropping it cancels its statement and closes it, so that the server rolls back; only
/// [`Lease::put_back`] returns it to the pool.
pub(super) struct Lease {
    object: Option<Object<Links>>,
    generation: u64,
    connector: Connector,
}

impl Lease {
    pub(super) fn client(&self) -> Result<&Client, Fault> {
        self.object
            .as_ref()
            .map(|object| &object.client)
            .ok_or(Fault::Closed)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn put_back(mut self) {
        drop(self.object.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else {
            return;
        };
        let link = Object::take(object);
        let client = &link.client;
        if !client.is_closed()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // The server would continue a statement without its client, and wait for a lock without a limit.
            runtime.spawn(self.connector.clone().cancel(client.cancel_token()));
        }
    }
}
