//! `[timeouts]`.

use std::time::Duration;

use super::raw;
use super::source::Source;

/// `[timeouts]`: how long to wait for clients.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// How long a connection may be idle between requests, in whole seconds; 100 s by default.
    pub keep_alive: Duration,
    /// How long a complete request header may take; 10 s by default.
    pub header: Duration,
    /// The maximum wait for the next bytes of a request; 60 s by default.
    pub read: Duration,
    /// The maximum wait until the client accepts bytes of a response; 60 s by default.
    pub write: Duration,
    /// How long a complete request body may take at realmgate's own endpoints; 30 s by default.
    pub body: Duration,
    /// How long a body is discarded after an early response; 5 s by default.
    pub drain: Duration,
}

impl Source<'_> {
    pub(super) fn timeouts(&self, raw: &raw::Timeouts) -> Timeouts {
        let default = Duration::from_secs(100);
        Timeouts {
            keep_alive: self.seconds("timeouts.keep_alive", raw.keep_alive.as_ref(), default),
            header: self.duration("timeouts.header", raw.header.as_ref(), 10_000),
            read: self.duration("timeouts.read", raw.read.as_ref(), 60_000),
            write: self.duration("timeouts.write", raw.write.as_ref(), 60_000),
            body: self.duration("timeouts.body", raw.body.as_ref(), 30_000),
            drain: self.duration("timeouts.drain", raw.drain.as_ref(), 5_000),
        }
    }
}
