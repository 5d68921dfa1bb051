//! Slows down guessing (RFC 4226 §7.3).
//!
//! Wrong tokens are counted as failures, which are forgiven one by one over time. A right token
//! forgives nothing, so that an attacker gains nothing from the successes of an active principal.
//!
//! A source is trusted for a principal that has recently authenticated there. Elsewhere, failures
//! count against the principal and against the source. Beyond a free allowance, each failure begins
//! a delay, twice as long as the one before, up to a bound. During a delay no attempt is evaluated,
//! right or wrong, and none prolongs the delay. Delays end by themselves.
//!
//! At a trusted source, failures count against the principal there, and against the principal at
//! all its trusted sources. So guessing elsewhere does not lock a principal out where it is
//! trusted, and guessing at one trusted source does not lock it out at the others. Where an
//! attacker and a principal share a trusted source, the limit takes precedence over availability.
//!
//! Unknown names are counted in the same way, in a table of their own, so that invented names evict
//! nothing that belongs to real ones, and no response tells the two apart. The same table counts
//! the identities whose seeds do not decrypt, apart from their own failures: their correct tokens
//! are rejected too.

mod claim;
mod claiming;
mod debt;
mod delay;
mod failures;
mod guess;
mod saved;
mod scope;
mod settings;
mod source;
mod table;
mod trusted;
mod verdict;

use std::hash::Hash;
use std::time::Duration;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::principal::PrincipalRef;
use super::time::UnixTime;
pub(crate) use claim::Claimed;
pub use claim::{Claim, ClaimOutcome};
use debt::{Debt, Pace};
pub use delay::{Delay, Throttled};
pub use failures::Failures;
pub use saved::ThrottleRecord;
pub use scope::Scope;
use settings::Paces;
pub use settings::ThrottleSettings;
pub use source::{Party, Source, network};
use table::{Locked, Shape, Slot, Table, Tag};
use verdict::begun;
pub(crate) use verdict::{Undo, Verdict};

/// The principal and source of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) who: PrincipalRef<'a>,
    /// Whether the identity exists and its seed decrypts.
    pub(super) is_known: bool,
    /// Whether the identity exists and its seed does not decrypt.
    pub(super) is_broken: bool,
    /// Failures before this no longer count.
    pub(super) unthrottled: UnixTime,
    pub(super) source: Source<'a>,
}

impl Subject<'_> {
    /// Returns when it was last unthrottled; 0 if that lies in the future, by a clock that was
    /// ahead.
    fn unthrottled_by(&self, now: UnixTime) -> u64 {
        if self.unthrottled <= now {
            self.unthrottled.as_secs()
        } else {
            0
        }
    }
}

/// The difference between the tags of an identity whose seed does not decrypt and its own tags.
/// Without it, other processes would add its failures to its own.
const BROKEN: Tag = 1 << 127;

/// The tags of the slots an attempt counts in.
struct Tags {
    principal: Tag,
    /// `None` if the source has no limit of its own.
    source: Option<Tag>,
    /// `None` if there is no source to trust.
    pair: Option<Tag>,
}

/// Failure counts, by scope.
///
/// Lock order: `pairs`, `trusted`; and `known`, `unknown`, `sources`.
pub(super) struct Throttle {
    paces: Paces,
    trusted_for: u64,
    key: [u8; 16],
    /// Whether several nodes share the counts.
    has_claims: bool,
    known: Table,
    unknown: Table,
    sources: Table,
    pairs: Table,
    trusted: Table,
}

impl Throttle {
    /// Makes a throttle without failures. Saved failures must have the same key.
    pub(super) fn new(settings: ThrottleSettings, key: [u8; 16]) -> Self {
        let one = || Table::new(settings.capacity, Shape::ONE);
        Self {
            paces: Paces::new(settings),
            trusted_for: settings.trust.as_secs(),
            key,
            has_claims: false,
            known: one(),
            unknown: one(),
            sources: one(),
            pairs: Table::new(settings.capacity, Shape::MANY),
            trusted: one(),
        }
    }

    /// Counts an attempt whose token is right or wrong, and returns its verdict.
    ///
    /// This is one atomic step: of concurrent attempts no more are evaluated than of successive
    /// ones.
    pub(super) fn settle(
        &self,
        subject: Subject<'_>,
        is_right: bool,
        claimed: Claimed,
        now: UnixTime,
    ) -> Verdict {
        let unthrottled = subject.unthrottled_by(now);
        let now = now.as_secs();
        let tags = self.tags_of(subject);
        if let Some(tag) = tags.pair {
            let mut pair = self.pairs.lock(tag);
            if let Some(slot) = pair.find()
                && self.is_trusted(slot, now)
            {
                let mut total = self.trusted.lock(tags.principal);
                return self.settle_trusted(slot, &mut total, is_right, unthrottled, now);
            }
        }
        let mut principal = self.principal(subject.is_known, tags.principal);
        let mut source = tags.source.map(|tag| self.sources.lock(tag));
        let mut left = self.left(&mut principal, Scope::Known, unthrottled, now);
        if claimed == Claimed::No {
            left = left.max(principal.find().map_or(0, |slot| slot.closed_for(now)));
        }
        let from = |source: &mut Locked<'_>| self.left(source, Scope::Source, 0, now);
        let left_from = source.as_mut().map_or(0, from);
        if left.max(left_from) > 0 {
            return Verdict::Delayed {
                left: Duration::from_secs(left.max(left_from)),
                whom: if left >= left_from {
                    Throttled::Principal
                } else {
                    Throttled::Source
                },
            };
        }
        let scope = if subject.is_known {
            Scope::Known
        } else {
            Scope::Unknown
        };
        if claimed == Claimed::No
            && let Some(slot) = principal.find()
            && let Some(claim) = self.unclaimed(slot, scope, now)
        {
            return Verdict::Unclaimed(claim);
        }
        if is_right {
            return Verdict::Pass {
                is_news: tags.pair.is_some(),
            };
        }
        let (of_principal, before) = self.count(&mut principal, Scope::Known, now);
        let of_source = source.as_mut();
        let of_source = of_source.map(|it| self.count(it, Scope::Source, now));
        let (of_source, before_from) = of_source.unwrap_or_default();
        let undo = Undo {
            is_trusted: false,
            before: [before, before_from],
        };
        let whom = [Throttled::Principal, Throttled::Source];
        begun([of_principal, of_source], whom, undo)
    }

    /// Takes back the failure that `settle` has counted at the same time, if `is_no_guess`. The
    /// work is the same if not.
    pub(super) fn take_back(
        &self,
        subject: Subject<'_>,
        undo: Undo,
        is_no_guess: bool,
        now: UnixTime,
    ) {
        let now = now.as_secs();
        let tags = self.tags_of(subject);
        let take = |locked: &mut Locked<'_>, scope, before| {
            if let Some(slot) = locked.find()
                && is_no_guess
            {
                slot.take_back(self.pace(scope), before, now);
            }
        };
        let [one, other] = undo.before;
        if undo.is_trusted {
            if let Some(tag) = tags.pair {
                take(&mut self.pairs.lock(tag), Scope::Pair, one);
            }
            take(
                &mut self.trusted.lock(tags.principal),
                Scope::Trusted,
                other,
            );
        } else {
            let principals = self.principals(subject.is_known);
            take(&mut principals.lock(tags.principal), Scope::Known, one);
            if let Some(tag) = tags.source {
                take(&mut self.sources.lock(tag), Scope::Source, other);
            }
        }
    }

    /// Returns the rest of the delay of a source, or `None` if there is no delay or the source is
    /// trusted for the principal.
    pub(super) fn source_left(
        &self,
        who: PrincipalRef<'_>,
        source: Source<'_>,
        now: UnixTime,
    ) -> Option<Duration> {
        let tags = self.tags(who, source);
        let now = now.as_secs();
        if let Some(tag) = tags.pair {
            let mut pair = self.pairs.lock(tag);
            if pair.find().is_some_and(|slot| self.is_trusted(slot, now)) {
                return None;
            }
        }
        let left = self.left(&mut self.sources.lock(tags.source?), Scope::Source, 0, now);
        (left > 0).then(|| Duration::from_secs(left))
    }

    /// Returns the number of delayed slots of each scope.
    pub(super) fn delayed(&self, now: UnixTime) -> [(Scope, usize); 5] {
        let now = now.as_secs();
        Scope::ALL.map(|scope| {
            let mut delayed = 0;
            let pace = self.pace(scope);
            self.table(scope).each(|slot| {
                let mut debt = slot.debt;
                debt.refresh(pace, 0, now);
                let left = match scope {
                    Scope::Trusted => debt.full_for(pace, self.paces.shared, now),
                    _ => debt.left(pace, now),
                };
                delayed += usize::from(left > 0);
            });
            (scope, delayed)
        })
    }

    fn pace(&self, scope: Scope) -> Pace {
        match scope {
            Scope::Source => self.paces.source,
            Scope::Known | Scope::Unknown => self.paces.principal,
            Scope::Pair | Scope::Trusted => self.paces.trusted,
        }
    }

    fn table(&self, scope: Scope) -> &Table {
        match scope {
            Scope::Known => &self.known,
            Scope::Unknown => &self.unknown,
            Scope::Source => &self.sources,
            Scope::Pair => &self.pairs,
            Scope::Trusted => &self.trusted,
        }
    }

    fn principals(&self, is_known: bool) -> &Table {
        if is_known { &self.known } else { &self.unknown }
    }

    /// Locks the bucket of a principal or unknown name. The failures of a name survive its change
    /// from unknown to known and back: otherwise creating or deleting an identity would end them,
    /// which would reveal it.
    fn principal(&self, is_known: bool, tag: Tag) -> Locked<'_> {
        let (known, unknown) = (self.known.lock(tag), self.unknown.lock(tag));
        let (mut principal, mut other) = if is_known {
            (known, unknown)
        } else {
            (unknown, known)
        };
        if let Some(before) = other.find()
            && before.debt != Debt::default()
            && let Some(slot) = principal.claim(|slot| slot.debt.paid)
        {
            slot.debt.paid = slot.debt.paid.max(before.debt.paid);
            slot.debt.failed = slot.debt.failed.max(before.debt.failed);
            slot.reset();
            before.debt = Debt::default();
            before.reset();
        }
        principal
    }

    fn tags_of(&self, subject: Subject<'_>) -> Tags {
        let apart = if subject.is_broken { BROKEN } else { 0 };
        self.tags_apart(subject.who, subject.source, apart)
    }

    fn tags(&self, who: PrincipalRef<'_>, source: Source<'_>) -> Tags {
        self.tags_apart(who, source, 0)
    }

    fn tags_apart(&self, who: PrincipalRef<'_>, source: Source<'_>, apart: Tag) -> Tags {
        let principal = self.tag(&who) ^ apart;
        let has_limit = source.has_limit();
        let source = source.place().map(|place| self.tag(&place));
        let half = u128::from(u64::MAX);
        Tags {
            principal,
            pair: source.map(|source| (principal & !half) | (source & half)),
            source: source.filter(|_| has_limit),
        }
    }

    fn tag(&self, whose: &impl Hash) -> Tag {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        whose.hash(&mut hasher);
        hasher.finish128().as_u128()
    }

    /// Returns the rest of a delay, in seconds.
    fn left(&self, locked: &mut Locked<'_>, scope: Scope, unthrottled: u64, now: u64) -> u64 {
        let Some(slot) = locked.find() else {
            return 0;
        };
        let pace = self.pace(scope);
        slot.refresh(pace, unthrottled, now);
        slot.debt.left(pace, now)
    }

    /// Counts a failure. Returns the delay it begins, and the time of the failure before.
    fn count(&self, locked: &mut Locked<'_>, scope: Scope, now: u64) -> (delay::Begun, u64) {
        let pace = self.pace(scope);
        match locked.claim(|slot| slot.debt.paid) {
            None => Default::default(),
            Some(slot) => {
                let before = slot.debt.failed;
                (slot.count(pace, now), before)
            }
        }
    }
}

impl Slot {
    fn refresh(&mut self, pace: Pace, unthrottled: u64, now: u64) {
        if self.debt.refresh(pace, unthrottled, now) {
            self.reset();
        }
    }

    fn count(&mut self, pace: Pace, now: u64) -> delay::Begun {
        self.unsaved += 1;
        self.is_dirty = true;
        self.debt.count(pace, now)
    }

    fn take_back(&mut self, pace: Pace, before: u64, now: u64) {
        self.unsaved -= 1;
        self.is_dirty = true;
        self.debt.take_back(pace, before, now);
    }

    /// Returns for how many seconds another node may have the claim.
    fn closed_for(&self, now: u64) -> u64 {
        self.closed.saturating_sub(now)
    }

    fn reset(&mut self) {
        self.closed = 0;
        self.is_dirty = true;
        self.is_reset = true;
    }
}

#[cfg(test)]
mod tests;
