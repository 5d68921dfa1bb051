//! `[shutdown]`.

use std::time::Duration;

use super::raw;
use super::source::Source;

/// `[shutdown]`.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// How long requests may continue after the signal; 30 s by default.
    pub grace: Duration,
}

impl Source<'_> {
    pub(super) fn shutdown(&self, raw: &raw::Shutdown) -> Shutdown {
        Shutdown {
            grace: self.duration("shutdown.grace", raw.grace.as_ref(), 30_000),
        }
    }
}
