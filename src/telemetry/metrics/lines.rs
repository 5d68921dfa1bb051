//! Lines of logs that came faster than they could be written.

use std::collections::BTreeMap;
use std::fmt;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use tracing_appender::non_blocking::ErrorCounter;

/// The counts of each log.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<BTreeMap<&'static str, ErrorCounter>>);

impl Lines {
    pub(super) fn set(&self, log: &'static str, dropped: ErrorCounter) {
        self.0.lock().insert(log, dropped);
    }
}

impl Collector for Lines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Log lines that were dropped because the writer was too slow";
        let mut family =
            encoder.encode_descriptor("log_lines_dropped", help, None, MetricType::Counter)?;
        for (log, dropped) in self.0.lock().iter() {
            let labels = [("log", *log)];
            let mut counter = family.encode_family(&labels)?;
            counter.encode_counter::<NoLabelSet, _, f64>(&dropped.dropped_lines(), None)?;
        }
        Ok(())
    }
}
