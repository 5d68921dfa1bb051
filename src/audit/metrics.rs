use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Registry;

/// The metrics of the audit log. Without a registry, as in commands, nobody reads them.
#[derive(Clone, Default)]
pub struct AuditMetrics {
    written: Counter,
    lost: Counter,
    failing: Gauge,
    full: Gauge,
    broken: Counter,
}

impl AuditMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        Self {
            written: registry.register(
                "audit_lines",
                "Lines written to the audit log",
                Counter::default(),
            ),
            lost: registry.register(
                "audit_lost",
                "Denials not written to the audit log because there were too many",
                Counter::default(),
            ),
            failing: registry.register(
                "audit_failing",
                "Whether the audit log cannot be written, which blocks changes of identities",
                Gauge::default(),
            ),
            full: registry.register(
                "audit_full",
                "Whether the disk of the audit log is so full that denials are not written",
                Gauge::default(),
            ),
            broken: registry.register(
                "audit_broken",
                "Times the audit log was found altered by another process",
                Counter::default(),
            ),
        }
    }

    pub(super) fn written(&self, lines: u64, lost: u64) {
        self.written.inc_by(lines);
        self.lost.inc_by(lost);
    }

    pub(super) fn set_failing(&self, is_failing: bool) {
        self.failing.set(is_failing.into());
    }

    pub(super) fn set_full(&self, is_full: bool) {
        self.full.set(is_full.into());
    }

    pub(super) fn broken(&self) {
        self.broken.inc();
    }
}
