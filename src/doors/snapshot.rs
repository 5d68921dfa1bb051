//! The parts of a configuration that a reload replaces in one step.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;

use crate::config::Config;
use crate::metrics::Registry;
use crate::net::metrics::NetMetrics;
use crate::net::settings::Settings;
use crate::routing::route::RouteTable;
use crate::telemetry::{Recorder, Tally};
use crate::upstream::{Resolver, UpstreamMetrics, Upstreams};

/// The parts of a configuration in force, one per room.
pub(crate) struct Snapshot {
    pub(crate) net: Arc<Settings>,
    pub(crate) routes: RouteTable,
    /// The counters of each route, by its index.
    tallies: Box<[Arc<Tally>]>,
    pub(crate) upstreams: Upstreams,
    pub(crate) client_address_header: Option<HeaderName>,
}

/// The snapshot in force. A request keeps the one with which it began.
pub(crate) type Live = Arc<ArcSwap<Snapshot>>;

/// What all snapshots of a server share, so that a reload continues it: counters, and the limit of lookups.
pub(crate) struct Shared {
    recorder: Arc<Recorder>,
    pub(crate) net: NetMetrics,
    upstreams: UpstreamMetrics,
    resolver: Resolver,
}

impl Shared {
    /// Registers the metrics of connections and upstreams.
    pub(crate) fn new(recorder: Arc<Recorder>, registry: &mut Registry) -> Self {
        Self {
            recorder,
            net: NetMetrics::new(registry),
            upstreams: UpstreamMetrics::new(registry),
            resolver: Resolver::default(),
        }
    }
}

impl Snapshot {
    /// Makes the snapshot of a configuration. Upstreams that have not changed are taken from
    /// `before`.
    ///
    /// # Errors
    /// A peer's address or a certificate is invalid, or the CA of client certificates is missing.
    pub(crate) fn new(
        config: &Config,
        before: Option<&Self>,
        shared: &Shared,
    ) -> std::io::Result<Self> {
        // Without a proxy, upstreams are not used: no name is resolved and no health checked.
        let used = match config.gateway.listen {
            Some(_) => config.upstreams.as_slice(),
            None => &[],
        };
        let routes = config.routes.iter();
        Ok(Self {
            net: Arc::new(Settings::new(config, &shared.net)?),
            routes: RouteTable::new(&config.routes),
            tallies: routes
                .map(|route| shared.recorder.route(&route.name))
                .collect(),
            upstreams: Upstreams::new(
                used,
                before.map(|it| &it.upstreams),
                &shared.upstreams,
                &shared.resolver,
            )?,
            client_address_header: config.service.client_address_header.clone(),
        })
    }

    /// Returns the counters of a route, by its index.
    pub(crate) fn tally(&self, route: usize) -> Option<&Arc<Tally>> {
        self.tallies.get(route)
    }
}
