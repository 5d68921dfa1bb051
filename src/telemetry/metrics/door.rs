//! Where requests come in, and how long they were decided on there.

use std::fmt;
use std::sync::Arc;

use crate::histogram::Histogram;

/// Where a request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The transparent proxy.
    Proxy,
    /// A front proxy's question.
    ForwardAuth,
    /// REST.
    Rest,
}

impl Door {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Proxy, Self::ForwardAuth, Self::Rest];

    /// Returns what logs and metrics call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::ForwardAuth => "forward-auth",
            Self::Rest => "rest",
        }
    }
}

/// How long decisions took, by door.
#[derive(Debug)]
pub(super) struct Decided(pub(super) [Arc<Histogram>; Door::ALL.len()]);

impl prometheus_client::collector::Collector for Decided {
    fn encode(
        &self,
        mut encoder: prometheus_client::encoding::DescriptorEncoder<'_>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "decision_duration_seconds",
            "Time from the arrival of a request to the decision",
            None,
            prometheus_client::metrics::MetricType::Histogram,
        )?;
        for (door, histogram) in Door::ALL.into_iter().zip(&self.0) {
            let labels = [("door", door.as_str())];
            histogram.write(&mut family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
