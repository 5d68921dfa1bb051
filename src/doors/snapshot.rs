//! What a reload replaces: as a whole, or not at all.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;

use crate::config::Config;
use crate::net::settings::Settings;
use crate::routing::route::RouteTable;
use crate::upstream::Upstreams;

/// A configuration in force, in parts: each room's own.
pub(crate) struct Snapshot {
    pub(crate) net: Arc<Settings>,
    pub(crate) routes: RouteTable,
    pub(crate) upstreams: Upstreams,
    pub(crate) client_address_header: Option<HeaderName>,
}

/// The snapshot in force, for everybody who looks it up. A request keeps the one that it began with.
pub(crate) type Live = Arc<ArcSwap<Snapshot>>;

impl Snapshot {
    /// Makes the snapshot of a configuration, with the upstreams that have not changed since `before`.
    ///
    /// # Errors
    /// A peer's address or a certificate cannot be used, or no CA is named for client certificates.
    pub(crate) fn new(config: &Config, before: Option<&Self>) -> std::io::Result<Self> {
        // Without a proxy nobody asks an upstream: no name is looked up, no health is checked.
        let asked = match config.gateway.listen {
            Some(_) => config.upstreams.as_slice(),
            None => &[],
        };
        Ok(Self {
            net: Arc::new(Settings::new(config)?),
            routes: RouteTable::new(&config.routes),
            upstreams: Upstreams::new(asked, before.map(|it| &it.upstreams))?,
            client_address_header: config.service.client_address_header.clone(),
        })
    }
}
