//! The parts of a configuration that a reload replaces in one step.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use http::HeaderName;

use crate::config::Config;
use crate::http::{Denials, IdentityHeaders, IdentityNames, IdentityOf};
use crate::metrics::Registry;
use crate::net::metrics::NetMetrics;
use crate::net::settings::Settings;
use crate::routing::input::MatchInput;
use crate::routing::route::RouteTable;
use crate::telemetry::{Recorder, Tally};
use crate::upstream::{Resolver, UpstreamMetrics, Upstreams};

/// The parts of a configuration in force, one per room.
pub(crate) struct Snapshot {
    pub(crate) net: Arc<Settings>,
    pub(crate) routes: RouteTable,
    /// The counters of each route, by its index.
    tallies: Box<[Arc<Tally>]>,
    /// How each route, by its index, responds to denied requests, if not as by default.
    denials: Box<[Option<Arc<Denials>>]>,
    /// The identity headers, with the names that single upstreams have for them.
    pub(crate) identity_headers: IdentityHeaders,
    /// The identity headers of each upstream, by its index, and last those of an application without
    /// an upstream. `None` if no upstream has names of its own.
    identities: Box<[Option<Arc<IdentityOf>>]>,
    pub(crate) upstreams: Upstreams,
    pub(crate) client_address_header: Option<HeaderName>,
    /// Whether a route was skipped because the address of a client was unknown, and a warning logged.
    has_warned: AtomicBool,
    /// The same for a request that passed without the routes.
    has_warned_bypassed: AtomicBool,
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

const UNADDRESSED: &str = "this route did not match a request, because it has `from` and no trusted party named the \
                           address of the client; docs/routes.md says who may name it";

const BYPASSED: &str = "a request passed at /forward-auth, where the routes do not apply; use the endpoint of the front \
                        proxy, such as /forward-auth/nginx, or restrict it with ?realm=";

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
        let names = config.upstreams.iter();
        let names = names.map(|upstream| upstream.identity_headers.as_ref());
        let identity_headers = IdentityHeaders::new(&config.credential_headers);
        let identity_headers =
            identity_headers.with(names.clone().flatten().flat_map(IdentityNames::names));
        let identity_of = |names| IdentityOf::new(&identity_headers, names).map(Arc::new);
        let identities = names.chain([None]).map(identity_of).collect();
        Ok(Self {
            net: Arc::new(Settings::new(config, &shared.net)?),
            routes: RouteTable::new(&config.routes),
            tallies: routes
                .map(|route| shared.recorder.route(&route.name))
                .collect(),
            identities,
            identity_headers,
            denials: config.routes.iter().map(|it| it.denials.clone()).collect(),
            upstreams: Upstreams::new(
                used,
                before.map(|it| &it.upstreams),
                &shared.upstreams,
                &shared.resolver,
            )?,
            client_address_header: config.service.client_address_header.clone(),
            has_warned: AtomicBool::new(false),
            has_warned_bypassed: AtomicBool::new(false),
        })
    }

    /// Returns the address of a client for routes with `from`. The address of a front proxy or of a
    /// load balancer is never that of a client, whoever names it: a connection whose client a load
    /// balancer does not name (`UNKNOWN`) has its address.
    pub(crate) fn client(&self, named: Option<IpAddr>) -> Option<IpAddr> {
        if !self.routes.has_networks() {
            return None;
        }
        named.filter(|it| !self.net.is_front_proxy(*it) && !self.net.is_load_balancer(*it))
    }

    /// Warns once of a route that does not match because no trusted party has named the client.
    pub(crate) fn warn_unaddressed(&self, input: &MatchInput<'_>) {
        if !self.routes.has_networks() || self.has_warned.load(Ordering::Relaxed) {
            return;
        }
        if let Some(route) = self.routes.unaddressed(input)
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(route = %route.name, "{UNADDRESSED}");
        }
    }

    /// Warns once that a request has passed without the routes, if there are any.
    pub(crate) fn warn_bypassed(&self) {
        let is_due = !self.routes.is_empty() && !self.has_warned_bypassed.load(Ordering::Relaxed);
        if is_due && !self.has_warned_bypassed.swap(true, Ordering::Relaxed) {
            tracing::warn!("{BYPASSED}");
        }
    }

    /// Returns the identity headers of an application: of the upstream with this index, or of one without
    /// an upstream. `None` if no upstream has names of its own.
    pub(crate) fn identity(&self, upstream: Option<usize>) -> Option<&Arc<IdentityOf>> {
        match upstream {
            Some(upstream) => self.identities.get(upstream)?.as_ref(),
            None => self.identities.last()?.as_ref(),
        }
    }

    /// Returns how a route, by its index, responds to denied requests, if not as by default.
    pub(crate) fn denials(&self, route: usize) -> Option<&Arc<Denials>> {
        self.denials.get(route)?.as_ref()
    }

    /// Returns the counters of a route, by its index.
    pub(crate) fn tally(&self, route: usize) -> Option<&Arc<Tally>> {
        self.tallies.get(route)
    }
}
