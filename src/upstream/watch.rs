//! Background tasks of an upstream: name lookups and health checks.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use futures_util::stream::{self, StreamExt};
use pingora::lb::Backend;
use tokio::time::MissedTickBehavior;

use super::discovery::Known;
use super::discovery::{Learned, Named};
use super::resolve::Resolver;
use crate::upstream::Upstream;

/// The maximum number of concurrent health checks of an upstream.
const CHECKS: usize = 64;

impl Upstream {
    /// Starts a task for each name and one for the health checks. They end when the upstream is
    /// dropped.
    pub(crate) fn watch(self: &Arc<Self>) {
        for named in self.discovery.names() {
            let resolver = self.resolver.clone();
            tokio::spawn(Self::follow(
                Arc::downgrade(self),
                Arc::clone(named),
                resolver,
            ));
        }
        let Some(health) = self.settings.health.as_ref() else {
            return;
        };
        let mut ticks = tokio::time::interval(health.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let upstream = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                ticks.tick().await;
                let Some(upstream) = upstream.upgrade() else {
                    return;
                };
                upstream.check_all().await;
            }
        });
    }

    async fn follow(upstream: Weak<Self>, named: Arc<Named>, resolver: Resolver) {
        loop {
            // A slow resolver delays only this name.
            let outcome = resolver.look_up(&named.name).await;
            let Some(this) = upstream.upgrade() else {
                return;
            };
            this.learn(&named, outcome);
            let interval = this.settings.resolve_interval;
            drop(this);
            tokio::time::sleep(named.pause(interval)).await;
            if upstream.strong_count() == 0 {
                return;
            }
        }
    }

    fn learn(&self, named: &Named, outcome: io::Result<Vec<SocketAddr>>) {
        let (upstream, name) = (&self.settings.name, &named.name);
        match named.learn(outcome) {
            Learned::Known | Learned::StillUnknown => {}
            Learned::KnownAgain => {
                tracing::info!(
                    upstream,
                    peer_name = name,
                    "the name of a peer resolves again"
                );
            }
            Learned::Unknown(0, error) => {
                tracing::warn!(upstream, peer_name = name, %error, "the name of a peer does not resolve: it gets no requests");
            }
            Learned::Unknown(addresses, error) => {
                tracing::warn!(upstream, peer_name = name, %error, addresses, "the name of a peer does not resolve: its last addresses stay in use");
            }
        }
        self.update();
        named.tried();
    }

    async fn check_all(&self) {
        let backends = self.peers.backends().get_backend();
        let checks = stream::iter(backends.iter()).for_each_concurrent(CHECKS, |it| self.check(it));
        checks.await;
        // If the preferred address family of a name fails and the other one works, send the
        // requests to the other one.
        let all = || backends.iter().filter_map(|it| Some((it, Known::of(it)?)));
        for (backend, known) in all() {
            if !known.is_standby(&backend.addr) || !known.state.is_healthy() {
                continue;
            }
            let is_covered = all().any(|(other, also)| {
                known.is_of_the_name_of(also)
                    && !also.is_standby(&other.addr)
                    && also.state.is_healthy()
            });
            if !is_covered {
                known.prefer(&backend.addr);
            }
        }
    }

    async fn check(&self, backend: &Backend) {
        let (Some(check), Some(known)) = (&self.check, Known::of(backend)) else {
            return;
        };
        let outcome = check.run(&backend.addr, &known.label).await;
        if !known.state.checked(outcome.is_ok()) {
            return;
        }
        let (upstream, peer) = (&self.settings.name, &backend.addr);
        match outcome {
            Ok(()) => tracing::info!(upstream, %peer, "a peer is healthy again"),
            // The other addresses of the name get the requests.
            Err(reason) if known.is_standby(peer) => {
                tracing::info!(upstream, %peer, %reason, "an address of a peer is not healthy");
            }
            Err(reason) => {
                tracing::warn!(upstream, %peer, %reason, "a peer is not healthy: it gets no requests");
            }
        }
    }
}
