//! The metrics of the configuration.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::config::Config;
use crate::metrics::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Digest {
    digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateFile {
    file: String,
}

/// The metrics of the configuration.
pub(super) struct ConfigMetrics {
    reloads: Family<Outcome, Counter>,
    last_reload: Gauge,
    active: Family<Digest, Gauge>,
    outdated: Gauge,
    certificates: Family<CertificateFile, Gauge>,
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
            outdated: registry.register(
                "config_outdated",
                "Whether the configuration files are newer than the active configuration and cannot be applied",
                Gauge::default(),
            ),
            certificates: registry.register(
                "certificate_expiry_timestamp_seconds",
                "Time at which the first certificate of the file expires",
                Family::default(),
            ),
        }
    }

    /// Shows the digest and the certificates of the active configuration.
    pub(super) fn activated(&self, config: &Config, digest: &str) {
        self.certificates.clear();
        for (file, end) in config.certificate_ends() {
            let file = file.to_owned();
            let gauge = self.certificates.get_or_create(&CertificateFile { file });
            gauge.set(end);
        }
        self.active.clear();
        let digest = digest.to_owned();
        self.active.get_or_create(&Digest { digest }).set(1);
    }

    /// Counts a reload.
    pub(super) fn reloaded(&self, is_applied: bool) {
        let outcome = if is_applied { "applied" } else { "refused" };
        self.reloads.get_or_create(&Outcome { outcome }).inc();
        self.last_reload.set(is_applied.into());
        self.outdated.set((!is_applied).into());
    }

    /// Records that the files mean the active configuration. Returns whether they could not be used
    /// before.
    pub(super) fn unchanged(&self) -> bool {
        self.last_reload.set(1);
        self.outdated.set(0) != 0
    }
}
