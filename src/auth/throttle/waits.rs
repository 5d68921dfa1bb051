use std::time::Duration;

use super::{Subject, Throttle, prefix};
use crate::auth::time::UnixTime;

impl Throttle {
    /// Returns for how long an attempt gets no verdict at the time `now`, and counts nothing.
    pub(in crate::auth) fn waits(&self, subject: Subject<'_>, now: UnixTime) -> Option<Duration> {
        let (now, pardoned) = (now.as_secs(), subject.pardoned.as_secs());
        let free = self.settings.failures;
        if let Some(source) = subject.source {
            let mut pair = self.pairs.lock(self.pair(subject.who, source));
            if pair.find().is_some_and(|slot| self.is_trusted(slot, now)) {
                let left = self.left(&mut pair, free, pardoned, now);
                return (left > 0).then(|| Duration::from_secs(left));
            }
        }
        let principals = self.principals(subject.is_known);
        let mut principal = principals.lock(self.tag(&subject.who));
        let mut left = self.left(&mut principal, free, pardoned, now);
        if let Some(source) = subject.source {
            let mut of_source = self.sources.lock(self.tag(&prefix(source)));
            let of_source = self.left(&mut of_source, self.settings.source_failures, 0, now);
            left = left.max(of_source);
        }
        (left > 0).then(|| Duration::from_secs(left))
    }
}
