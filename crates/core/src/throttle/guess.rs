//! Guesses of secrets that belong to no principal.

use std::time::Duration;

use super::{Scope, Source, Throttle};
use crate::time::UnixTime;

impl Throttle {
    /// Counts a failure against a source. Returns the rest of its delay, if it is delayed already:
    /// then nothing is counted.
    pub(crate) fn count_guess(&self, source: Source<'_>, now: UnixTime) -> Option<Duration> {
        if !source.has_limit() {
            return None;
        }
        let tag = self.tag(&source.place()?);
        let now = now.as_secs();
        let mut locked = self.sources.lock(tag);
        match self.left(&mut locked, Scope::Source, 0, now) {
            0 => {
                self.count(&mut locked, Scope::Source, now);
                None
            }
            left => Some(Duration::from_secs(left)),
        }
    }
}
