//! When an attempt needs a claim.

use std::time::Duration;

use super::claim::Claim;
use super::table::{Locked, Slot};
use super::{BROKEN, Scope, Throttle};
use crate::principal::PrincipalRef;
use crate::time::UnixTime;

impl Throttle {
    /// Returns the same throttle, which asks for claims if several nodes share the counts.
    pub(crate) fn with_claims(mut self, has_claims: bool) -> Self {
        self.has_claims = has_claims;
        self
    }

    /// Returns the claim that is needed to evaluate an attempt that counts in a slot.
    pub(super) fn unclaimed(&self, slot: &Slot, scope: Scope, now: u64) -> Option<Claim> {
        let pace = self.pace(scope);
        if !self.has_claims || slot.debt.failures(pace, now) < pace.free {
            return None;
        }
        let mut next = slot.debt;
        let secs = next.count(pace, now).secs.max(1);
        Some(Claim {
            scope,
            tag: slot.tag.to_be_bytes(),
            lasts: Duration::from_secs(secs),
        })
    }

    /// Returns whether an attempt at a name may need a claim, whether the name exists or not.
    pub(crate) fn may_need_claim(&self, who: PrincipalRef<'_>, now: UnixTime) -> bool {
        if !self.has_claims {
            return false;
        }
        let (tag, now) = (self.tag(&who), now.as_secs());
        let needs = |(scope, tag)| {
            let mut locked: Locked<'_> = self.table(scope).lock(tag);
            let slot = locked.find();
            slot.is_some_and(|slot| self.unclaimed(slot, scope, now).is_some())
        };
        let places = [
            (Scope::Known, tag),
            (Scope::Unknown, tag),
            (Scope::Unknown, tag ^ BROKEN),
        ];
        places.into_iter().any(needs)
    }

    /// Evaluates no attempt for as long as another node has the claim.
    pub(crate) fn close(&self, claim: &Claim, left: Duration, now: UnixTime) {
        let tag = u128::from_be_bytes(claim.tag);
        let mut locked: Locked<'_> = self.table(claim.scope).lock(tag);
        if let Some(slot) = locked.find() {
            slot.closed = now.as_secs().saturating_add(left.as_secs());
        }
    }
}
