//! Sources where a principal has recently authenticated.

use std::time::Duration;

use super::delay::Throttled;
use super::table::{Locked, Slot};
use super::verdict::begun;
use super::{Scope, Source, Throttle, Undo, Verdict};
use crate::principal::PrincipalRef;
use crate::time::UnixTime;

impl Throttle {
    /// Counts an attempt of a principal at a source where it is trusted, and returns its verdict.
    pub(super) fn settle_trusted(
        &self,
        slot: &mut Slot,
        total: &mut Locked<'_>,
        is_right: bool,
        unthrottled: u64,
        now: u64,
    ) -> Verdict {
        let whom = Throttled::TrustedSource;
        let left = self.left_when_trusted(slot, total, unthrottled, now);
        if left > 0 {
            let left = Duration::from_secs(left);
            return Verdict::Delayed { left, whom };
        }
        if is_right {
            // Saved only occasionally, so that most requests write nothing.
            let is_news = now.saturating_sub(slot.passed) > self.trusted_for / 16;
            return Verdict::Pass { is_news };
        }
        let before = slot.debt.failed;
        let mut here = slot.count(self.pace(Scope::Pair), now);
        let (_, before_in_all) = self.count(total, Scope::Trusted, now);
        here.secs = self.left_when_trusted(slot, total, unthrottled, now);
        let undo = Undo {
            is_trusted: true,
            before: [before, before_in_all],
        };
        begun([here, Default::default()], [whom, whom], undo)
    }

    /// Returns the rest of the delay of a principal at a source where it is trusted, in seconds.
    pub(super) fn left_when_trusted(
        &self,
        slot: &mut Slot,
        total: &mut Locked<'_>,
        unthrottled: u64,
        now: u64,
    ) -> u64 {
        let (here, all) = (self.pace(Scope::Pair), self.pace(Scope::Trusted));
        slot.refresh(here, unthrottled, now);
        let left = slot.debt.left(here, now);
        let Some(total) = total.find() else {
            return left;
        };
        total.refresh(all, unthrottled, now);
        let limit = match slot.debt.failures(here, now) {
            0 => self.paces.all,
            _ => self.paces.shared,
        };
        left.max(total.debt.full_for(all, limit, now))
    }

    /// Trusts a source for a principal that has just authenticated there.
    pub(crate) fn trust(&self, who: PrincipalRef<'_>, source: Source<'_>, now: UnixTime) {
        let Some(tag) = self.tags(who, source).pair else {
            return;
        };
        let mut pair = self.pairs.lock(tag);
        if let Some(slot) = pair.claim(|slot| slot.passed) {
            slot.passed = now.as_secs().max(1);
            slot.is_dirty = true;
        }
    }

    /// Returns whether a source is trusted for a principal.
    pub(super) fn is_trusted(&self, slot: &mut Slot, now: u64) -> bool {
        if slot.passed > now {
            // By a clock that was ahead. It counts as a success now, and no longer than that.
            slot.passed = now;
            slot.reset();
        }
        slot.passed > 0 && now - slot.passed < self.trusted_for
    }
}
