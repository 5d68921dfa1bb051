//! The log, the access log, traces, and the metrics of decisions.
//!
//! [`Recorder`] is what the doors use. [`Telemetry`] belongs to the process: it starts the log and applies reloads.

mod access;
mod decisions;
mod door;
mod drift;
mod fields;
mod file;
mod lines;
mod logs;
mod metrics;
mod quota;
mod record;
mod recorder;
mod request;
mod request_line;
mod spans;
mod traces;

use std::fs::File;
use std::io;
use std::sync::Arc;

use opentelemetry_otlp::ExporterBuildError;
use tokio::task::spawn_blocking;

use crate::audit::Audit;
use crate::config::{Log, Otlp};
use crate::metrics::Registry;
use access::AccessLog;
pub use decisions::{NO_ROUTE, REJECTED, Tally};
pub use door::Door;
use lines::{DroppedLines, OverLimit};
use logs::Logs;
pub use logs::init;
pub use record::{RecordSlot, RequestRecord};
pub use recorder::Recorder;
pub use request::{Forwarded, Request};
pub use request_line::RequestLine;
pub use spans::Spans;
use traces::Tracer;

/// The logs and traces of a process that serves. Waiting lines are written when this is dropped.
pub struct Telemetry {
    logs: Logs,
    access: Arc<AccessLog>,
    tracer: Arc<Tracer>,
    over_limit: OverLimit,
}

/// Checked settings that can be applied without an error.
pub struct Prepared {
    log: Log,
    file: Option<File>,
}

impl Telemetry {
    /// Starts the log and the access log, and registers their metrics.
    ///
    /// # Errors
    /// The access log cannot be opened.
    pub fn start(log: &Log, registry: &mut Registry) -> io::Result<Self> {
        let logs = Logs::start(log);
        let dropped = DroppedLines::new(registry);
        dropped.set("main", logs.dropped());
        let telemetry = Self {
            access: Arc::new(AccessLog::new(dropped)),
            tracer: Arc::new(Tracer::new(registry)),
            over_limit: OverLimit::new(logs.quota(), registry),
            logs,
        };
        telemetry.configure(telemetry.prepare(log)?);
        Ok(telemetry)
    }

    /// Makes the recorder of a server, and registers its metrics.
    pub fn recorder(&self, audit: Audit, registry: &mut Registry) -> Arc<Recorder> {
        Arc::new(Recorder::new(
            Arc::clone(&self.access),
            Arc::clone(&self.tracer),
            Some(self.over_limit.clone()),
            audit,
            registry,
        ))
    }

    /// Exports traces of a node from now on. Must be called within a runtime.
    ///
    /// # Errors
    /// The exporter cannot be made.
    pub fn trace(&self, otlp: &Otlp, node: &str) -> Result<(), ExporterBuildError> {
        self.tracer.start(otlp, node)
    }

    /// Exports the last traces. Must be called within the runtime that exports them.
    pub async fn end_traces(&self) {
        let tracer = Arc::clone(&self.tracer);
        // It waits for the exporter.
        let _ = spawn_blocking(move || tracer.end()).await;
    }

    /// Checks other settings and opens their file. Nothing changes yet.
    ///
    /// # Errors
    /// The access log cannot be opened.
    pub fn prepare(&self, log: &Log) -> io::Result<Prepared> {
        Ok(Prepared {
            file: access::open(log)?,
            log: log.clone(),
        })
    }

    /// Applies other settings of the log and the access log.
    pub fn configure(&self, prepared: Prepared) {
        let Prepared { log, file } = prepared;
        self.access.configure(&log, file, self.logs.lines());
        self.logs.configure(&log);
        tracing::trace!("libraries log only warnings and errors, whatever log.filter says");
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.access.end();
    }
}
