//! Log lines that were not written: because of `log.lines_per_second`, or because the writer was too slow.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use tracing_appender::non_blocking::ErrorCounter;

use super::quota::Quota;
use crate::metrics::{Registry, write_counters};

/// The lines that each log has dropped, by name of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct DroppedLines(Arc<Mutex<BTreeMap<&'static str, ErrorCounter>>>);

impl DroppedLines {
    /// Registers the metric.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let dropped = Self::default();
        registry.collect(dropped.clone());
        dropped
    }

    /// Shows the counter of a log from now on.
    pub(super) fn set(&self, log: &'static str, dropped: ErrorCounter) {
        self.0.lock().insert(log, dropped);
    }
}

impl Collector for DroppedLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let dropped = self.0.lock();
        write_counters(
            &mut encoder,
            "log_lines_dropped",
            "Log lines that were dropped because the writer was too slow",
            dropped
                .iter()
                .map(|(log, dropped)| ([("log", *log)], dropped.dropped_lines() as u64)),
        )
    }
}

/// The lines over `log.lines_per_second`.
#[derive(Clone)]
pub(super) struct OverLimit {
    quota: Arc<Quota>,
    lines: Counter,
}

impl OverLimit {
    /// Registers the metric of a quota.
    pub(super) fn new(quota: &Arc<Quota>, registry: &mut Registry) -> Self {
        Self {
            quota: Arc::clone(quota),
            lines: registry.register(
                "log_lines_over_limit",
                "Log lines that were not written because of log.lines_per_second",
                Counter::default(),
            ),
        }
    }

    /// Logs and counts the lines since the last call.
    pub(super) fn log(&self) {
        for (part, lines) in self.quota.take_dropped() {
            self.lines.inc_by(lines);
            tracing::warn!(
                part = &*part,
                lines,
                "log lines over the limit were not written"
            );
        }
    }
}
