//! Metrics for Prometheus. The owners of metrics define them beside their code and register them here; this room
//! knows none of them. Counting takes no lock and no lookup.
//!
//! Labels have few values. A name is never one, and a realm only if it has identities.

mod histogram;
mod named;
mod process;
mod write;

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{self, Metric};

pub use histogram::{Histogram, QUICK, SLOW};
pub(crate) use named::Named;
use process::Process;
pub(crate) use write::{
    write_counter, write_counters, write_gauge, write_gauges, write_histograms,
};

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Text,
}

impl Exposition {
    /// Returns the media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Appends a metric as text.
type Append = Box<dyn Fn(&mut String) -> fmt::Result + Send + Sync>;

/// All metrics of a server. Their names begin with `realmgate_`, except those of the process.
pub struct Registry {
    own: registry::Registry,
    /// The metrics of the process, whose names have no prefix.
    process: registry::Registry,
    appended: Vec<Append>,
}

impl Registry {
    /// Makes a registry with the metrics of the program and the process.
    pub fn new() -> Self {
        let mut own = registry::Registry::with_prefix("realmgate");
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        own.register("build", "Version of the running program", Info::new(build));
        let started = Gauge::<i64>::default();
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        started.set(since.map_or(0, |since| since.as_secs().cast_signed()));
        let help = "Start time of realmgate since the Unix epoch";
        own.register("start_time_seconds", help, started);
        let mut process = registry::Registry::default();
        process.register_collector(Box::new(Process));
        Self {
            own,
            process,
            appended: Vec::new(),
        }
    }

    /// Registers a metric and returns it. Its clones share their values.
    pub fn register<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.own.register(name, help, metric.clone());
        metric
    }

    /// Registers metrics that are read at each scrape.
    pub fn collect(&mut self, collector: impl Collector + 'static) {
        self.own.register_collector(Box::new(collector));
    }

    /// Registers a metric that writes its own text, in a form that both text formats share.
    pub fn append(&mut self, write: impl Fn(&mut String) -> fmt::Result + Send + Sync + 'static) {
        self.appended.push(Box::new(write));
    }

    /// Returns all metrics as text.
    ///
    /// # Errors
    /// A metric cannot be written, which does not happen to a `String`.
    pub fn text(&self, exposition: Exposition) -> Result<String, fmt::Error> {
        let mut text = String::new();
        match exposition {
            Exposition::OpenMetrics => {
                text::encode_registry(&mut text, &self.own)?;
                text::encode_registry(&mut text, &self.process)?;
            }
            Exposition::Text => {
                prometheus_text::encode(&mut text, &self.own)?;
                prometheus_text::encode(&mut text, &self.process)?;
            }
        }
        for write in &self.appended {
            write(&mut text)?;
        }
        if exposition == Exposition::OpenMetrics {
            text::encode_eof(&mut text)?;
        }
        Ok(text)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a number as the value of a gauge.
pub(crate) fn gauge(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
