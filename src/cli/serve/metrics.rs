//! The metrics of the configuration.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Digest {
    digest: String,
}

/// The metrics of the configuration.
pub(super) struct ConfigMetrics {
    reloads: Family<Outcome, Counter>,
    last_reload: Gauge,
    active: Family<Digest, Gauge>,
}

impl ConfigMetrics {
    /// Registers the metrics.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let reloads = Family::<Outcome, Counter>::default();
        for outcome in ["applied", "refused"] {
            drop(reloads.get_or_create(&Outcome { outcome }));
        }
        let last_reload = Gauge::default();
        last_reload.set(1);
        Self {
            reloads: registry.register(
                "config_reloads",
                "Reloads of the configuration, by outcome",
                reloads,
            ),
            last_reload: registry.register(
                "config_last_reload_successful",
                "Whether the last reload of the configuration succeeded",
                last_reload,
            ),
            active: registry.register(
                "config_info",
                "Digest of the active configuration, as in the log",
                Family::default(),
            ),
        }
    }

    /// Shows the digest of the active configuration.
    pub(super) fn activated(&self, digest: &str) {
        self.active.clear();
        let digest = digest.to_owned();
        self.active.get_or_create(&Digest { digest }).set(1);
    }

    /// Counts a reload.
    pub(super) fn reloaded(&self, is_applied: bool) {
        let outcome = if is_applied { "applied" } else { "refused" };
        self.reloads.get_or_create(&Outcome { outcome }).inc();
        self.last_reload.set(is_applied.into());
    }
}
