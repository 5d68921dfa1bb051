//! The metrics of decisions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::decisions::{Decisions, Tally};
use super::door::Door;
use super::drift::Drift;
use crate::auth::{Permit, Throttled};
use crate::metrics::{Histogram, QUICK, Registry, write_histograms};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Whom {
    whom: &'static str,
}

/// The metrics of decisions.
pub(super) struct DecisionMetrics {
    pub(super) decisions: Arc<Decisions>,
    durations: Durations,
    drift: Arc<Drift>,
    delays: Counter,
    attacks: Family<Whom, Counter>,
}

impl DecisionMetrics {
    /// Registers the metrics.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let decisions = Arc::new(Decisions::new());
        registry.collect(Arc::clone(&decisions));
        let durations = Durations(Door::ALL.map(|_| Arc::new(Histogram::new(QUICK))));
        registry.collect(durations.clone());
        let drift = Arc::<Drift>::default();
        let written = Arc::clone(&drift);
        registry.append(move |text| written.write(text));
        let attacks = Family::<Whom, Counter>::default();
        for slowed in Throttled::ALL {
            let whom = slowed.as_str();
            drop(attacks.get_or_create_owned(&Whom { whom }));
        }
        Self {
            decisions,
            durations,
            drift,
            delays: registry.register(
                "throttle_delays",
                "Failures that started a delay of a principal or source",
                Counter::default(),
            ),
            attacks: registry.register(
                "throttle_attacks",
                "Attacks: principals and sources that were throttled because of failures",
                attacks,
            ),
        }
    }

    /// Counts a permit under a route.
    pub(super) fn permitted(&self, door: Door, tally: &Tally, permit: &Permit) {
        tally.permitted(door, permit);
        self.drift.count(permit);
    }

    /// Counts a decision, permit or denial, by the time it took.
    pub(super) fn decided(&self, door: Door, took: Duration) {
        if let Some(histogram) = self.durations.0.get(door as usize) {
            histogram.observe(took);
        }
    }

    /// Counts a failure that starts a delay.
    pub(super) fn delayed(&self) {
        self.delays.inc();
    }

    /// Counts the beginning of an attack.
    pub(super) fn attacked(&self, slowed: Throttled) {
        let whom = slowed.as_str();
        self.attacks.get_or_create_owned(&Whom { whom }).inc();
    }
}

/// The time to the decision, by door.
#[derive(Clone, Debug)]
struct Durations([Arc<Histogram>; Door::ALL.len()]);

impl Collector for Durations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let doors = Door::ALL.into_iter().zip(&self.0);
        write_histograms(
            &mut encoder,
            "decision_duration_seconds",
            "Time from the arrival of a request to the decision",
            doors.map(|(door, histogram)| ([("door", door.as_str())], &**histogram)),
        )
    }
}
