use std::time::Duration;

use super::{Scope, Subject, Throttle};
use crate::time::UnixTime;

/// The failures that count against a principal, and the delays they have begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// The failures at sources that are not trusted for the principal.
    pub elsewhere: u32,
    /// The rest of the delay there.
    pub elsewhere_delay: Duration,
    /// The number of trusted sources.
    pub trusted_sources: usize,
    /// The failures at all trusted sources.
    pub trusted: u32,
    /// The rest of the longest delay at a trusted source.
    pub trusted_delay: Duration,
}

impl Throttle {
    /// Returns the failures that count against a principal at the time `now`.
    pub(crate) fn failures(&self, subject: Subject<'_>, now: UnixTime) -> Failures {
        let (now, unthrottled) = (now.as_secs(), subject.unthrottled_by(now));
        let tags = self.tags_of(subject);
        let mut failures = Failures::default();
        let mut elsewhere = self.principal(subject.is_known, tags.principal);
        let left = self.left(&mut elsewhere, Scope::Known, unthrottled, now);
        failures.elsewhere_delay = Duration::from_secs(left);
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
                longest = longest.max(self.left_when_trusted(slot, &mut total, unthrottled, now));
            }
        });
        failures.trusted_delay = Duration::from_secs(longest);
        if let Some(slot) = total.find() {
            failures.trusted = slot.debt.failures(self.pace(Scope::Trusted), now);
        }
        failures
    }
}
