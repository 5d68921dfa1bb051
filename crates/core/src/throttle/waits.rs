use std::time::Duration;

use super::{Scope, Subject, Throttle};
use crate::time::UnixTime;

/// The failures that count against a principal, and for how long nobody gets a verdict on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Failures at sources where it is not trusted.
    pub elsewhere: u32,
    /// How long nobody gets a verdict there.
    pub elsewhere_waits: Duration,
    /// The sources where it is trusted.
    pub trusted_sources: usize,
    /// Failures at all of them.
    pub trusted: u32,
    /// How long nobody gets a verdict at the one that waits longest.
    pub trusted_waits: Duration,
}

impl Throttle {
    /// Returns for how long an attempt gets no verdict at the time `now`, and counts nothing.
    pub(crate) fn waits(&self, subject: Subject<'_>, now: UnixTime) -> Option<Duration> {
        let (now, pardoned) = (now.as_secs(), subject.pardoned_by(now));
        let tags = self.tags(&subject);
        if let Some(tag) = tags.pair {
            let mut pair = self.pairs.lock(tag);
            if let Some(slot) = pair.find()
                && self.is_trusted(slot, now)
            {
                let mut total = self.trusted.lock(tags.principal);
                let left = self.left_when_trusted(slot, &mut total, pardoned, now);
                return (left > 0).then(|| Duration::from_secs(left));
            }
        }
        let mut principal = self.principal(subject.is_known, tags.principal);
        let mut left = self.left(&mut principal, Scope::Known, pardoned, now);
        if let Some(tag) = tags.source {
            let of_source = self.left(&mut self.sources.lock(tag), Scope::Source, 0, now);
            left = left.max(of_source);
        }
        (left > 0).then(|| Duration::from_secs(left))
    }

    /// Returns what counts against a principal at the time `now`.
    pub(crate) fn failures(&self, subject: Subject<'_>, now: UnixTime) -> Failures {
        let (now, pardoned) = (now.as_secs(), subject.pardoned_by(now));
        let tags = self.tags(&subject);
        let mut failures = Failures::default();
        let mut elsewhere = self.principal(subject.is_known, tags.principal);
        let left = self.left(&mut elsewhere, Scope::Known, pardoned, now);
        failures.elsewhere_waits = Duration::from_secs(left);
        if let Some(slot) = elsewhere.find() {
            failures.elsewhere = slot.debt.failures(self.pace(Scope::Known), now);
        }
        drop(elsewhere);
        let mut longest = 0;
        let mut pairs = self.pairs.lock(tags.principal);
        let mut total = self.trusted.lock(tags.principal);
        pairs.each_of_one(|slot| {
            if self.is_trusted(slot, now) {
                failures.trusted_sources += 1;
                longest = longest.max(self.left_when_trusted(slot, &mut total, pardoned, now));
            }
        });
        failures.trusted_waits = Duration::from_secs(longest);
        if let Some(slot) = total.find() {
            failures.trusted = slot.debt.failures(self.pace(Scope::Trusted), now);
        }
        failures
    }
}
