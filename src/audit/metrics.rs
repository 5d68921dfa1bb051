use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::auth::Throttled;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWhom {
    whom: &'static str,
}

/// How the audit log is doing, and who is attacked.
#[derive(Clone, Default)]
pub struct AuditMetrics {
    written: Counter,
    lost: Counter,
    failing: Gauge,
    full: Gauge,
    broken: Counter,
    attacks: Family<OfWhom, Counter>,
}

impl AuditMetrics {
    /// Makes them, and makes them known.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.register(registry);
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "audit_lines",
            "Lines written to the audit log",
            self.written.clone(),
        );
        registry.register(
            "audit_lost",
            "Denials not written to the audit log because there were too many",
            self.lost.clone(),
        );
        registry.register(
            "audit_failing",
            "Whether the audit log cannot be written, which blocks changes of identities",
            self.failing.clone(),
        );
        registry.register(
            "audit_full",
            "Whether the disk of the audit log is so full that denials are not written",
            self.full.clone(),
        );
        registry.register(
            "audit_broken",
            "Times the audit log was found altered by another process",
            self.broken.clone(),
        );
        registry.register(
            "throttle_attacks",
            "Attacks: principals and sources that were throttled because of failures",
            self.attacks.clone(),
        );
        for slowed in Throttled::ALL {
            drop(self.of(slowed));
        }
    }

    /// Counts that somebody is slowed down from now on.
    pub fn slowed(&self, slowed: Throttled) {
        self.of(slowed).inc();
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

    fn of(&self, slowed: Throttled) -> Counter {
        let whom = slowed.as_str();
        self.attacks.get_or_create_owned(&OfWhom { whom })
    }
}
