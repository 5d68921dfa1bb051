//! The log on standard error, for people or with one JSON object per line.

use std::io::{self, stderr};
use std::sync::Arc;

use tracing::Subscriber;
use tracing::subscriber::set_global_default;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_log::LogTracer;
use tracing_log::log::{
    self, Level, LevelFilter, Metadata, Record, set_boxed_logger, set_max_level,
};
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::fields;
use super::quota::{Limited, Quota, Weighed};
use crate::config::{Log, LogFormat};

/// The maximum number of queued lines. Further ones are dropped and counted.
const WAITING: usize = 16_384;

/// The log of a process that serves, written by a thread. Queued lines are written when this is dropped.
pub(super) struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
    lines: NonBlocking,
    quota: Arc<Quota>,
    _writing: WorkerGuard,
}

impl Logs {
    /// Starts the log. A second call in a process has no effect.
    pub(super) fn start(log: &Log) -> Self {
        let (lines, writing) = background(stderr());
        let quota = Quota::new(log.lines_per_second);
        let filter = start(log, lines.clone(), &quota);
        Self {
            filter,
            lines,
            quota,
            _writing: writing,
        }
    }

    /// Applies another filter and quota.
    pub(super) fn configure(&self, log: &Log) {
        // This fails only if the subscriber is gone, which lives as long as the process.
        let _ = self.filter.reload(filter(&log.filter));
        set_max_level(LevelFilter::Warn);
        self.quota.set(log.lines_per_second);
    }

    /// Returns the quota of its lines.
    pub(super) fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    /// Returns the writer, for other lines in the same output.
    pub(super) fn lines(&self) -> &NonBlocking {
        &self.lines
    }

    /// Returns the counter of dropped lines.
    pub(super) fn dropped(&self) -> ErrorCounter {
        self.lines.error_counter()
    }
}

/// Starts the log of a command that does not serve. A second call in a process has no effect.
pub fn init(log: &Log) {
    start(log, stderr, &Quota::new(log.lines_per_second));
}

/// Returns a writer that queues lines for a thread.
pub(super) fn background(to: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING)
        .thread_name("log")
        .finish(to)
}

fn start<W>(log: &Log, writer: W, quota: &Arc<Quota>) -> reload::Handle<EnvFilter, Registry>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let _ = set_boxed_logger(Box::new(Warnings(LogTracer::new())));
    set_max_level(LevelFilter::Warn);
    let (filter, handle) = reload::Layer::new(filter(&log.filter));
    let subscriber = Registry::default().with(filter);
    let lines = layer().with_writer(Weighed {
        to: writer,
        quota: Arc::clone(quota),
    });
    let limited = Limited {
        is_logged,
        quota: Arc::clone(quota),
    };
    match log.format {
        LogFormat::Human => {
            let lines = lines.fmt_fields(fields::quoted()).with_ansi(is_coloured());
            set(subscriber.with(lines.with_filter(limited)));
        }
        LogFormat::Json => {
            set(subscriber.with(lines.json().flatten_event(true).with_filter(limited)));
        }
    }
    handle
}

/// Returns whether lines are coloured: on a terminal with colours, unless `NO_COLOR` is set.
fn is_coloured() -> bool {
    anstream::AutoStream::choice(&stderr()) != anstream::ColorChoice::Never
}

/// Returns whether a line may be written, whatever the filter says. Libraries may log warnings and errors only,
/// because their other lines can quote requests; h2, for instance, logs the value of `TE`.
fn is_logged(metadata: &tracing::Metadata<'_>) -> bool {
    let target = metadata.target();
    let own = target.strip_prefix("realmgate");
    *metadata.level() <= tracing::Level::WARN
        // The crates of the workspace are named `realmgate_…`.
        || own.is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with('_'))
}

/// Passes on lines of the `log` crate, that is, of Pingora: warnings and errors only, because other lines can quote a
/// request with its token. The level of `log` alone is not enough, because a new filter changes it.
struct Warnings(LogTracer);

impl Warnings {
    /// Returns whether lines are logged. Those of `pingora_proxy` 0.9.1 are not: the doors log how each request
    /// ends, and it would add an error for each client that disconnects before its header is complete.
    fn are_logged(metadata: &Metadata<'_>) -> bool {
        // rustls 0.23 logs a line for each client that sends an illegal server name. The listener counts failed
        // handshakes, and limits what it logs about them.
        let is_repeated = |target: &str| {
            ["pingora_proxy", "rustls"]
                .iter()
                .any(|it| target.starts_with(it))
        };
        metadata.level() <= Level::Warn && !is_repeated(metadata.target())
    }
}

impl log::Log for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::are_logged(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if Self::are_logged(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {}
}

/// Sets the subscriber of the process. `tracing` and `log` have one global receiver per process, which every
/// library in it writes to, so the log cannot be a value. A second one is ignored.
fn set(subscriber: impl Subscriber + Send + Sync + 'static) {
    let _ = set_global_default(subscriber);
}

fn filter(directives: &str) -> EnvFilter {
    EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"))
}
