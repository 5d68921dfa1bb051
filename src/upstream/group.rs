//! All upstreams of a configuration.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;

use super::Upstream;
use crate::config;
use crate::telemetry::UpstreamFigures;

/// How long a start or a reload waits for names that have not been looked up before.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// All groups, in the order in which routes count them.
pub(crate) struct Upstreams(Box<[Arc<Upstream>]>);

impl Upstreams {
    /// Makes all groups. Those that have not changed are the same as `before`.
    ///
    /// # Errors
    /// No root of the system can be read, or a path cannot be that of a socket.
    pub(crate) fn new(settings: &[config::Upstream], before: Option<&Self>) -> io::Result<Self> {
        let before = before.into_iter().flat_map(|before| &before.0);
        let before: HashMap<_, _> = before.map(|it| (it.name(), it)).collect();
        let upstream = |settings: &config::Upstream| {
            Upstream::new(settings, before.get(&*settings.name).copied())
        };
        Ok(Self(
            settings.iter().map(upstream).collect::<Result<_, _>>()?,
        ))
    }

    /// Begins to ask the peers whether they answer, and to look up their names. Returns once each name has
    /// been looked up once, but waits no longer than [`FIRST_LOOK`]. What is not known by then is looked up
    /// while requests come.
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

    /// Returns the name of each, and how it is doing.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&str, UpstreamFigures)> {
        self.0.iter().map(|upstream| upstream.figures())
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Upstream>> {
        self.0.get(index)
    }
}
