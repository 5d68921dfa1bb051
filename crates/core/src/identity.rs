use std::sync::Arc;

use super::derived::Derived;
use super::id::IdentityId;
use super::principal::Principal;
use super::rare::{Rare, Terms};
use super::seed::Seed;
use super::seeds::{SeedSlot, Seeds};
use super::time::UnixTime;
use super::totp::Parameters;
use super::usage::{Usage, Use};

/// Whether an identity may authenticate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It may.
    #[default]
    Enabled,
    /// It may not, until enabled again.
    Disabled,
}

/// The stored record of a principal.
#[derive(Debug)]
pub struct Identity {
    /// The number that the store assigned.
    pub id: IdentityId,
    /// The name and realm.
    pub principal: Principal,
    /// The seeds, unless they were dropped from memory.
    pub seeds: SeedSlot,
    /// Whether a stored seed could not be decrypted. With another key it may be.
    pub is_partial: bool,
    /// Algorithm, digits and period of the tokens.
    pub parameters: Parameters,
    /// Whether it may authenticate.
    pub state: State,
    /// What most identities do not have.
    pub rare: Option<Box<Rare>>,
    /// When the current seed was last used.
    pub usage: Usage,
    /// When the identity was registered.
    pub created: UnixTime,
    /// When the identity was last changed.
    pub updated: UnixTime,
    /// Its version, and when its current seed was made.
    pub history: History,
    /// What a door has made of it.
    pub derived: Derived,
}

/// The version of an identity: another one after each change, on every node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version(pub i64);

/// The version of an identity, and when its current seed was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The version.
    pub version: Version,
    /// When the current seed was made, if that is known.
    pub seed_made: Option<UnixTime>,
}

impl Identity {
    /// Returns the seeds. `None` if they were dropped: then the record must be read again.
    pub fn seeds(&self) -> Option<Arc<Seeds>> {
        self.seeds.load()
    }

    /// Drops the seeds for every holder of the record. Their memory is zeroed when the last token
    /// check ends.
    pub fn forget_seeds(&self) {
        self.seeds.forget();
    }

    /// Returns the current seed, or `None` if it cannot be decrypted or was dropped.
    pub fn seed(&self) -> Option<Seed> {
        Some(self.seeds()?.present()?.seed())
    }

    /// Returns the end of the overlap of the replaced seed, if there is one.
    pub fn previous_until(&self) -> Option<UnixTime> {
        Some(self.seeds()?.replaced()?.until)
    }

    /// Returns the validity period and the comment.
    pub fn terms(&self) -> &Terms {
        &self.rare().terms
    }

    /// Returns the time before which failures do not count against the identity.
    pub fn unthrottled(&self) -> UnixTime {
        self.rare().unthrottled
    }

    /// Returns when the seed before the current one was made, if there is one and that is known.
    pub fn previous_made(&self) -> Option<UnixTime> {
        self.rare().previous_made
    }

    /// Returns when the seed before the current one was last used, to the minute.
    pub fn previous_used(&self) -> Option<UnixTime> {
        self.rare().previous_usage.used()
    }

    /// Records a use. Returns whether the caller must save it.
    pub(super) fn record(&self, of: &Use) -> bool {
        let usage = match (of.is_of_previous, &self.rare) {
            (false, _) => &self.usage,
            (true, Some(rare)) => &rare.previous_usage,
            (true, None) => return true,
        };
        usage.record(of.used, of.drift)
    }

    /// Returns the record as it may stay in memory at `now`. If it has a seed that can no longer
    /// authenticate anybody, this is a copy without that seed; otherwise it is the same record.
    pub fn without_idle_seeds(self: &Arc<Self>, now: UnixTime) -> Arc<Self> {
        let is_expired = self.terms().expires.is_some_and(|until| now >= until);
        let seeds = if self.state == State::Disabled || is_expired {
            Seeds::default()
        } else if self.previous_until().is_some_and(|until| now >= until) {
            let seeds = self.seeds().unwrap_or_default();
            Seeds::new(seeds.present().cloned(), None)
        } else {
            return Arc::clone(self);
        };
        Arc::new(self.with(seeds.into()))
    }

    /// Returns a copy that keeps its seeds when the seeds of this record are dropped.
    #[must_use]
    pub fn copy(&self) -> Self {
        self.with(self.seeds.copy())
    }

    /// Returns the earliest time after `now` at which a seed must leave memory, if there is one.
    pub fn forget_at(&self, now: UnixTime) -> Option<UnixTime> {
        let times = [self.previous_until(), self.terms().expires];
        times.into_iter().flatten().filter(|&it| it > now).min()
    }

    fn rare(&self) -> &Rare {
        static NONE: Rare = Rare::none();
        self.rare.as_deref().unwrap_or(&NONE)
    }

    fn with(&self, seeds: SeedSlot) -> Self {
        Self {
            id: self.id,
            principal: self.principal.clone(),
            seeds,
            is_partial: self.is_partial,
            parameters: self.parameters,
            state: self.state,
            rare: self.rare.as_ref().map(|rare| Box::new(rare.copy())),
            usage: self.usage.copy(),
            created: self.created,
            updated: self.updated,
            history: self.history,
            derived: Derived::default(),
        }
    }
}
