use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

/// Connections that were closed before a request on them was read.
#[derive(Default)]
pub struct RejectedConnections(Family<Why, Counter>);

impl RejectedConnections {
    /// Makes their counts, and makes them known.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let all = Self::default();
        let help = "Connections closed before a request was read, by reason";
        registry.register("connections_rejected", help, all.0.clone());
        all
    }

    /// Shows that none has been closed for a reason.
    pub fn begin(&self, reason: &'static str) {
        drop(self.0.get_or_create_owned(&Why { reason }));
    }

    /// Counts one.
    pub fn count(&self, reason: &'static str) {
        self.0.get_or_create_owned(&Why { reason }).inc();
    }
}
