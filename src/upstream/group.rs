//! The upstreams of a configuration.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;

use super::Upstream;
use super::metrics::{UpstreamMetrics, UpstreamStatus};
use super::resolve::Resolver;
use crate::config;

/// How long a start or a reload waits for new names to be resolved.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// All upstreams, in the order of the indexes that routes hold.
pub(crate) struct Upstreams(Box<[Arc<Upstream>]>);

impl Upstreams {
    /// Makes all upstreams. Unchanged ones are the same objects as in `before`.
    ///
    /// # Errors
    /// The root certificates cannot be read, or a path is too long for a Unix socket.
    pub(crate) fn new(
        settings: &[config::Upstream],
        before: Option<&Self>,
        metrics: &UpstreamMetrics,
        resolver: &Resolver,
    ) -> io::Result<Self> {
        let before = before.into_iter().flat_map(|before| &before.0);
        let before: HashMap<_, _> = before.map(|it| (it.name(), it)).collect();
        let upstream = |settings: &config::Upstream| {
            let before = before.get(&*settings.name).copied();
            Upstream::new(settings, before, metrics, resolver)
        };
        Ok(Self(
            settings.iter().map(upstream).collect::<Result<_, _>>()?,
        ))
    }

    /// Starts health checks and name lookups. Returns when each name has been looked up once, or
    /// after [`FIRST_LOOK`]; lookups continue in the background.
    pub(crate) async fn watch(&self) {
        for upstream in &self.0 {
            if !upstream.is_watched.swap(true, Ordering::Relaxed) {
                upstream.watch();
            }
        }
        let names = self
            .0
            .iter()
            .flat_map(|upstream| upstream.discovery.names());
        let tried = join_all(names.map(|named| named.is_tried()));
        let _ = tokio::time::timeout(FIRST_LOOK, tried).await;
    }

    /// Returns the name and the current metrics of each upstream.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = (&str, UpstreamStatus)> {
        self.0.iter().map(|upstream| upstream.status())
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Upstream>> {
        self.0.get(index)
    }
}
