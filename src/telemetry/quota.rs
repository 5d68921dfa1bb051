//! Limits the log lines of each part of the program, because clients can cause a line with each request.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Filter};

use crate::budget::Budget;

/// A budget per module, so that a flood of denials does not hide other lines. The levels `debug` and `trace` have no
/// limit.
#[derive(Debug)]
pub(super) struct Quota {
    lines_per_second: AtomicU32,
    parts: RwLock<HashMap<Box<str>, Arc<Part>>>,
}

#[derive(Debug, Default)]
struct Part {
    budget: Budget,
    /// The lines that were not written.
    dropped: AtomicU64,
}

impl Quota {
    pub(super) fn new(lines_per_second: u32) -> Arc<Self> {
        Arc::new(Self {
            lines_per_second: AtomicU32::new(lines_per_second),
            parts: RwLock::default(),
        })
    }

    pub(super) fn set(&self, lines_per_second: u32) {
        self.lines_per_second
            .store(lines_per_second, Ordering::Relaxed);
    }

    /// Returns the modules whose lines were not written since the last call, with the number of lines.
    pub(super) fn take_dropped(&self) -> Vec<(Box<str>, u64)> {
        let parts = self.parts.read();
        let dropped = parts.iter().map(|(name, part)| {
            let dropped = part.dropped.swap(0, Ordering::Relaxed);
            (name.clone(), dropped)
        });
        dropped.filter(|(_, dropped)| *dropped > 0).collect()
    }

    fn part(&self, metadata: &Metadata<'_>) -> Option<Arc<Part>> {
        if *metadata.level() > Level::INFO {
            return None;
        }
        let target = metadata.target();
        if let Some(part) = self.parts.read().get(target) {
            return Some(Arc::clone(part));
        }
        // The number of modules is the limit.
        let mut parts = self.parts.write();
        Some(Arc::clone(parts.entry(target.into()).or_default()))
    }

    fn admit(&self, metadata: &Metadata<'_>) -> bool {
        let Some(part) = self.part(metadata) else {
            return true;
        };
        let is_admitted = part
            .budget
            .take(self.lines_per_second.load(Ordering::Relaxed), 0);
        if !is_admitted {
            part.dropped.fetch_add(1, Ordering::Relaxed);
        }
        is_admitted
    }
}

/// Filters lines: by `is_logged`, then by the quota.
pub(super) struct Limited {
    pub(super) is_logged: fn(&Metadata<'_>) -> bool,
    pub(super) quota: Arc<Quota>,
}

impl<S> Filter<S> for Limited {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        (self.is_logged)(metadata)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.quota.admit(event.metadata())
    }
}

/// Writes lines, and takes their length from the budget of their module.
pub(super) struct Weighed<W> {
    pub(super) to: W,
    pub(super) quota: Arc<Quota>,
}

/// The writer of one line.
pub(super) struct Line<W> {
    to: W,
    part: Option<Arc<Part>>,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Weighed<W> {
    type Writer = Line<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            to: self.to.make_writer(),
            part: None,
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        Line {
            to: self.to.make_writer_for(metadata),
            part: self.quota.part(metadata),
        }
    }
}

impl<W: io::Write> io::Write for Line<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(part) = &self.part {
            part.budget.add(bytes.len());
        }
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
