//! The parts of a configuration that a reload replaces in one step.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;

use crate::config::Config;
use crate::net::settings::Settings;
use crate::routing::route::RouteTable;
use crate::upstream::Upstreams;

/// The parts of a configuration in force, one per room.
pub(crate) struct Snapshot {
    pub(crate) net: Arc<Settings>,
    pub(crate) routes: RouteTable,
    pub(crate) upstreams: Upstreams,
    pub(crate) client_address_header: Option<HeaderName>,
}

/// The snapshot in force. A request keeps the one with which it began.
pub(crate) type Live = Arc<ArcSwap<Snapshot>>;

impl Snapshot {
    /// Makes the snapshot of a configuration. Upstreams that have not changed are taken from
    /// `before`.
    ///
    /// # Errors
    /// A peer's address or a certificate is invalid, or the CA of client certificates is missing.
    pub(crate) fn new(config: &Config, before: Option<&Self>) -> std::io::Result<Self> {
        // Without a proxy, upstreams are not used: no name is resolved and no health checked.
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
