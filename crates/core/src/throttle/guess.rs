//! Guesses of secrets that belong to no principal.

use std::time::Duration;

use super::{Scope, Source, Throttle};
use crate::time::UnixTime;

impl Throttle {
    /// Returns the rest of the delay of a source, or `None` if there is no delay.
    pub(crate) fn guesses_left(&self, source: Source<'_>, now: UnixTime) -> Option<Duration> {
        if !source.has_limit() {
            return None;
        }
        let tag = self.tag(&source.place()?);
        let mut locked = self.sources.lock(tag);
        match self.left(&mut locked, Scope::Source, 0, now.as_secs()) {
            0 => None,
            left => Some(Duration::from_secs(left)),
        }
    }

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
