//! Slows down guessing (RFC 4226 §7.3).
//!
//! Failures are counted in three places: of a principal, whoever presents it; of a source, whomever it
//! presents; and of a principal at a source from which it has proved itself lately. Beyond some free
//! ones, each failure begins a delay, twice as long as the one before, up to a bound. During a delay no
//! attempt gets a verdict, right or wrong, and none prolongs it. Delays end by themselves.
//!
//! A principal at a source that it is known from counts by itself: nobody elsewhere can lock it out.
//!
//! Names that are nobody's are counted in a table of their own, in the same way, so that inventing names
//! pushes out nothing that is known of real ones, and no answer tells the two apart.

mod delay;
mod settings;
mod table;
mod waits;

use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::principal::PrincipalRef;
use super::time::UnixTime;
use delay::{Begun, begun};
pub use delay::{Delay, Slowed};
pub use settings::ThrottleSettings;
use table::{Locked, Slot, Table, Tag};

/// What becomes of an attempt whose token has been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A right one may pass.
    Pass {
        /// Whether [`Throttle::proved`] should be told.
        is_news: bool,
    },
    /// A wrong one was counted.
    Counted {
        /// The delay that it begins, if it begins one.
        delay: Option<Delay>,
    },
    /// It gets no verdict, whatever it was.
    Delayed {
        /// For how long still.
        left: Duration,
    },
}

/// Where something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Principals that there are.
    Known,
    /// Names that are nobody's.
    Unknown,
    /// Addresses.
    Source,
    /// Principals at addresses that they are known from.
    Pair,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Known, Self::Unknown, Self::Source, Self::Pair];

    /// Returns what the store calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Unknown => "unknown",
            Self::Source => "source",
            Self::Pair => "pair",
        }
    }
}

/// A count as it is saved. Whose it is cannot be told from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleRecord {
    /// Where it counts.
    pub scope: Scope,
    /// A keyed hash of whose it is.
    pub tag: [u8; 16],
    /// Failures.
    pub failures: u32,
    /// When the last one was.
    pub failed: UnixTime,
    /// When a token was right last; the epoch for never.
    pub passed: UnixTime,
}

/// Whose attempt it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) who: PrincipalRef<'a>,
    /// Whether there is such an identity.
    pub(super) is_known: bool,
    /// Failures before this no longer count.
    pub(super) pardoned: UnixTime,
    pub(super) source: Option<IpAddr>,
}

/// The counts.
pub(super) struct Throttle {
    settings: ThrottleSettings,
    key: [u8; 16],
    known: Table,
    unknown: Table,
    sources: Table,
    pairs: Table,
}

impl Throttle {
    /// Makes one without counts. Saved ones are of the same key.
    pub(super) fn new(settings: ThrottleSettings, key: [u8; 16]) -> Self {
        Self {
            key,
            known: Table::new(settings.capacity),
            unknown: Table::new(settings.capacity),
            sources: Table::new(settings.capacity),
            pairs: Table::new(settings.capacity),
            settings,
        }
    }

    /// Decides what becomes of an attempt whose token is right or not, and counts it.
    ///
    /// Counting and deciding are one step: of attempts that come at the same time no more get a verdict
    /// than of those that come one after the other.
    pub(super) fn settle(&self, subject: Subject<'_>, is_right: bool, now: UnixTime) -> Verdict {
        let now = now.as_secs();
        let pardoned = subject.pardoned.as_secs();
        if let Some(source) = subject.source {
            let mut pair = self.pairs.lock(self.pair(subject.who, source));
            if let Some(slot) = pair.find()
                && self.is_trusted(slot, now)
            {
                return self.settle_pair(slot, is_right, pardoned, now);
            }
        }
        let free = self.settings.failures;
        let principals = self.principals(subject.is_known);
        let mut principal = principals.lock(self.tag(&subject.who));
        let source = subject.source.map(prefix);
        let mut source = source.map(|source| self.sources.lock(self.tag(&source)));
        let left = self.left(&mut principal, free, pardoned, now);
        let from =
            |source: &mut Locked<'_>| self.left(source, self.settings.source_failures, 0, now);
        let left = left.max(source.as_mut().map_or(0, from));
        if left > 0 {
            return Verdict::Delayed {
                left: Duration::from_secs(left),
            };
        }
        if is_right {
            return Verdict::Pass { is_news: true };
        }
        let delay = self.count(&mut principal, free, now);
        let of_source = source.as_mut();
        let of_source = of_source.map(|it| self.count(it, self.settings.source_failures, now));
        begun(delay, of_source.unwrap_or_default())
    }

    /// Returns how long a source still has to wait, unless the principal counts by itself there.
    pub(super) fn source_left(
        &self,
        who: PrincipalRef<'_>,
        source: Option<IpAddr>,
        now: UnixTime,
    ) -> Option<Duration> {
        let now = now.as_secs();
        let source = source?;
        let mut pair = self.pairs.lock(self.pair(who, source));
        if pair.find().is_some_and(|slot| self.is_trusted(slot, now)) {
            return None;
        }
        let mut locked = self.sources.lock(self.tag(&prefix(source)));
        let left = self.left(&mut locked, self.settings.source_failures, 0, now);
        (left > 0).then(|| Duration::from_secs(left))
    }

    /// Settles an attempt of a principal at a source that it is known from.
    fn settle_pair(&self, slot: &mut Slot, is_right: bool, pardoned: u64, now: u64) -> Verdict {
        self.refresh(slot, pardoned, now);
        let left = self.until(slot, self.settings.failures).saturating_sub(now);
        if left > 0 {
            return Verdict::Delayed {
                left: Duration::from_secs(left),
            };
        }
        if !is_right {
            let delay = self.count_in(slot, self.settings.failures, now);
            return begun(delay, Begun::default());
        }
        if slot.failures > 0 {
            slot.failures = 0;
            slot.is_dirty = true;
        }
        // Noted now and then, so that most requests write nothing.
        let age = now.saturating_sub(slot.passed);
        Verdict::Pass {
            is_news: age > self.settings.trust.as_secs() / 16,
        }
    }

    /// Notes that a principal has proved itself at a source, which counts by itself from now on.
    pub(super) fn proved(&self, subject: Subject<'_>, now: UnixTime) {
        let Some(source) = subject.source else {
            return;
        };
        let mut pair = self.pairs.lock(self.pair(subject.who, source));
        if let Some(slot) = pair.claim(|slot| slot.passed) {
            slot.passed = now.as_secs().max(1);
            slot.is_dirty = true;
        }
    }

    /// Takes counts over that were saved.
    pub(super) fn restore(&self, records: &[ThrottleRecord]) {
        for record in records {
            let mut locked = self
                .table(record.scope)
                .lock(Tag::from_be_bytes(record.tag));
            if let Some(slot) = locked.claim(|slot| slot.failed.max(slot.passed)) {
                slot.failures = record.failures;
                slot.failed = record.failed.as_secs();
                slot.passed = record.passed.as_secs();
            }
        }
    }

    /// Returns what has changed since the last call and is worth saving, at most `limit` counts: delays,
    /// and sources that count by themselves.
    pub(super) fn changed(&self, limit: usize) -> Vec<ThrottleRecord> {
        let mut records = Vec::new();
        for scope in Scope::ALL {
            let free = self.free(scope);
            self.table(scope).each(|slot| {
                let is_worth_it = slot.failures >= free || slot.passed > 0;
                if slot.is_dirty && is_worth_it && records.len() < limit {
                    slot.is_dirty = false;
                    records.push(ThrottleRecord {
                        scope,
                        tag: slot.tag.to_be_bytes(),
                        failures: slot.failures,
                        failed: UnixTime::from_secs(slot.failed),
                        passed: UnixTime::from_secs(slot.passed),
                    });
                }
            });
        }
        records
    }

    /// Takes back that counts were saved.
    pub(super) fn unsaved(&self, records: &[ThrottleRecord]) {
        for record in records {
            let mut locked = self
                .table(record.scope)
                .lock(Tag::from_be_bytes(record.tag));
            if let Some(slot) = locked.find() {
                slot.is_dirty = true;
            }
        }
    }

    /// Counts whom a delay holds up at the time `now`.
    pub(super) fn delayed(&self, now: UnixTime) -> [(Scope, usize); 4] {
        let now = now.as_secs();
        Scope::ALL.map(|scope| {
            let mut delayed = 0;
            let free = self.free(scope);
            self.table(scope).each(|slot| {
                // Of a clock that has gone back no delay is longer than the longest.
                let failed = slot.failed.min(now);
                delayed += usize::from(self.until(&Slot { failed, ..*slot }, free) > now);
            });
            (scope, delayed)
        })
    }

    /// Returns the failures without a delay.
    fn free(&self, scope: Scope) -> u32 {
        match scope {
            Scope::Source => self.settings.source_failures,
            Scope::Known | Scope::Unknown | Scope::Pair => self.settings.failures,
        }
    }

    fn table(&self, scope: Scope) -> &Table {
        match scope {
            Scope::Known => &self.known,
            Scope::Unknown => &self.unknown,
            Scope::Source => &self.sources,
            Scope::Pair => &self.pairs,
        }
    }

    fn principals(&self, is_known: bool) -> &Table {
        if is_known { &self.known } else { &self.unknown }
    }

    fn tag(&self, whose: &impl Hash) -> Tag {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        whose.hash(&mut hasher);
        // 0 is an empty slot.
        hasher.finish128().as_u128().max(1)
    }

    fn pair(&self, who: PrincipalRef<'_>, source: IpAddr) -> Tag {
        self.tag(&(who, prefix(source)))
    }

    fn is_trusted(&self, slot: &Slot, now: u64) -> bool {
        // A success in the future is of a clock that has gone back since: it is as good as one of now.
        slot.passed > 0 && now.saturating_sub(slot.passed) < self.settings.trust.as_secs()
    }

    /// Returns how many seconds of a delay are left.
    fn left(&self, locked: &mut Locked<'_>, free: u32, pardoned: u64, now: u64) -> u64 {
        let Some(slot) = locked.find() else {
            return 0;
        };
        self.refresh(slot, pardoned, now);
        self.until(slot, free).saturating_sub(now)
    }

    /// Drops what no longer counts.
    fn refresh(&self, slot: &mut Slot, pardoned: u64, now: u64) {
        // The clock has gone back: a delay must not last until it is there again.
        slot.failed = slot.failed.min(now);
        let is_old = now - slot.failed >= self.settings.forget.as_secs();
        if slot.failures > 0 && (is_old || slot.failed < pardoned) {
            slot.failures = 0;
            slot.is_dirty = true;
        }
    }

    /// Returns when the delay ends that a count has begun.
    fn until(&self, slot: &Slot, free: u32) -> u64 {
        match slot.failures.checked_sub(free) {
            None => 0,
            Some(more) => slot.failed.saturating_add(self.delay(more)),
        }
    }

    /// Returns the delay after `more` failures beyond those that begin the first one, in seconds.
    fn delay(&self, more: u32) -> u64 {
        let first = self.settings.delay.as_secs().max(1);
        let longest = self.settings.longest_delay.as_secs().max(first);
        let doubled = first.checked_mul(1_u64.checked_shl(more).unwrap_or(u64::MAX));
        doubled.unwrap_or(longest).min(longest)
    }

    /// Counts a failure; returns what it begins.
    fn count(&self, locked: &mut Locked<'_>, free: u32, now: u64) -> Begun {
        let worth = |slot: &Slot| self.until(slot, free).max(slot.failed);
        let slot = locked.claim(worth);
        slot.map_or(Begun::default(), |slot| self.count_in(slot, free, now))
    }

    fn count_in(&self, slot: &mut Slot, free: u32, now: u64) -> Begun {
        slot.failures = slot.failures.saturating_add(1);
        slot.failed = now;
        slot.is_dirty = true;
        Begun {
            secs: self.until(slot, free).saturating_sub(now),
            is_first: slot.failures == free,
        }
    }
}

/// Returns the part of an address that one party has: all of IPv4, a /64 of IPv6.
fn prefix(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => (address.to_bits() >> 64 << 64).to_be_bytes().into(),
    }
}

#[cfg(test)]
mod tests;
