//! The health of the upstreams, for the admin page.

use std::sync::OnceLock;

use super::snapshot::Live;

/// Reads the health of the upstreams, once the doors are open.
#[derive(Default)]
pub struct Health(OnceLock<Live>);

/// The peers of an upstream, by their state.
pub(crate) struct UpstreamHealth {
    pub(crate) name: String,
    /// They get requests.
    pub(crate) healthy: u64,
    /// Their health checks fail.
    pub(crate) unhealthy: u64,
    /// They get no requests for a while because requests failed.
    pub(crate) ejected: u64,
    /// Their names were never resolved.
    pub(crate) unknown: u64,
    /// The requests in progress.
    pub(crate) requests: u64,
}

impl Health {
    pub(super) fn open(&self, snapshot: Live) {
        let _ = self.0.set(snapshot);
    }

    /// Returns the health of each upstream; none before the doors are open.
    pub(crate) fn upstreams(&self) -> Vec<UpstreamHealth> {
        let Some(snapshot) = self.0.get() else {
            return Vec::new();
        };
        let snapshot = snapshot.load();
        let all = snapshot.upstreams.statuses();
        all.map(|(name, status)| UpstreamHealth {
            name: name.to_owned(),
            healthy: status.healthy as u64,
            unhealthy: status.unhealthy as u64,
            ejected: status.ejected as u64,
            unknown: status.unknown as u64,
            requests: status.requests as u64,
        })
        .collect()
    }
}
