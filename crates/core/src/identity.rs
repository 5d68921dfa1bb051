use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::derived::Derived;
use super::id::IdentityId;
use super::principal::Principal;
use super::seed::Seed;
use super::time::UnixTime;
use super::totp::{Parameters, Totp};
use super::usage::Usage;

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
    /// Algorithm, digits and period of the tokens.
    pub parameters: Parameters,
    /// Whether it may authenticate.
    pub state: State,
    /// Validity period and comment; `None` for most identities.
    pub terms: Option<Box<Terms>>,
    /// Failures before this time do not count against the identity.
    pub unthrottled: UnixTime,
    /// When and with which clock drift it was last used.
    pub usage: Usage,
    /// When the identity was registered.
    pub created: UnixTime,
    /// When the identity was last changed.
    pub updated: UnixTime,
    /// Its version, and when its seeds were made.
    pub history: History,
    /// What a door has made of it.
    pub derived: Derived,
}

/// The version of an identity: another one after each change, on every node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version(pub i64);

/// The version of an identity, and when its seeds were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The version.
    pub version: Version,
    /// When the current seed was made, if that is known.
    pub seed_made: Option<UnixTime>,
    /// When the seed before it was made, if there is one and that is known.
    pub previous_made: Option<UnixTime>,
}

/// The seeds of an identity.
#[derive(Debug, Default)]
pub struct Seeds {
    /// The current seed. `None` if the stored seed cannot be decrypted, or if the identity may not
    /// authenticate; then every token is rejected.
    pub present: Option<Totp>,
    /// The seed before the current one, during its overlap. Boxed, because few identities have one.
    pub previous: Option<Box<Previous>>,
    /// Whether a stored seed could not be decrypted. With another key it may be.
    pub is_partial: bool,
}

/// The seed that was replaced by the current one.
#[derive(Debug)]
pub struct Previous {
    /// The seed with its parameters.
    pub totp: Totp,
    /// The end of the overlap, exclusive: from then on, its tokens are rejected.
    pub until: UnixTime,
}

/// The seeds of a record. They can be dropped while others hold the record: a permit holds it as
/// long as its connection lasts.
#[derive(Debug)]
pub struct SeedSlot(ArcSwapOption<Seeds>);

impl From<Seeds> for SeedSlot {
    fn from(seeds: Seeds) -> Self {
        Self(ArcSwapOption::from_pointee(seeds))
    }
}

impl SeedSlot {
    /// Returns the seeds, or `None` if they were dropped.
    pub fn load(&self) -> Option<Arc<Seeds>> {
        self.0.load_full()
    }
}

impl Seeds {
    /// Returns the replaced seed if its overlap has not ended at `now`.
    pub fn previous(&self, now: UnixTime) -> Option<&Totp> {
        let previous = self.previous.as_ref()?;
        (now < previous.until).then_some(&previous.totp)
    }
}

impl Identity {
    /// Returns the seeds. `None` if they were dropped: then the record must be read again.
    pub fn seeds(&self) -> Option<Arc<Seeds>> {
        self.seeds.load()
    }

    /// Drops the seeds for every holder of the record. Their memory is zeroed when the last token
    /// check ends.
    pub fn forget_seeds(&self) {
        self.seeds.0.store(None);
    }

    /// Returns the current seed, or `None` if it cannot be decrypted or was dropped.
    pub fn seed(&self) -> Option<Seed> {
        Some(self.seeds()?.present.as_ref()?.seed())
    }

    /// Returns the end of the overlap of the replaced seed, if there is one.
    pub fn previous_until(&self) -> Option<UnixTime> {
        Some(self.seeds()?.previous.as_ref()?.until)
    }

    /// Returns the validity period and the comment.
    pub fn terms(&self) -> &Terms {
        self.terms.as_deref().unwrap_or(&Terms::NONE)
    }

    /// Returns the record as it may stay in memory at `now`. If it has a seed that can no longer
    /// authenticate anybody, this is a copy without that seed; otherwise it is the same record.
    pub fn without_idle_seeds(self: &Arc<Self>, now: UnixTime) -> Arc<Self> {
        let is_expired = self.terms().expires.is_some_and(|until| now >= until);
        let seeds = if self.state == State::Disabled || is_expired {
            Seeds::default()
        } else if self.previous_until().is_some_and(|until| now >= until) {
            let seeds = self.seeds().unwrap_or_default();
            Seeds {
                present: seeds.present.clone(),
                previous: None,
                is_partial: seeds.is_partial,
            }
        } else {
            return Arc::clone(self);
        };
        Arc::new(self.with(seeds.into()))
    }

    /// Returns a copy that keeps its seeds when the seeds of this record are dropped.
    #[must_use]
    pub fn copy(&self) -> Self {
        self.with(SeedSlot(ArcSwapOption::new(self.seeds())))
    }

    /// Returns the earliest time after `now` at which a seed must leave memory, if there is one.
    pub fn forget_at(&self, now: UnixTime) -> Option<UnixTime> {
        let times = [self.previous_until(), self.terms().expires];
        times.into_iter().flatten().filter(|&it| it > now).min()
    }

    fn with(&self, seeds: SeedSlot) -> Self {
        Self {
            id: self.id,
            principal: self.principal.clone(),
            seeds,
            parameters: self.parameters,
            state: self.state,
            terms: self.terms.clone(),
            unthrottled: self.unthrottled,
            usage: self.usage.copy(),
            created: self.created,
            updated: self.updated,
            history: self.history,
            derived: Derived::default(),
        }
    }
}

/// The validity period of an identity, and a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The beginning, inclusive.
    pub not_before: Option<UnixTime>,
    /// The end, exclusive.
    pub expires: Option<UnixTime>,
    /// A comment by administrators, at most [`Terms::COMMENT_CHARS`] characters.
    pub comment: Option<Box<str>>,
}

impl Terms {
    /// The maximum length of a comment in characters.
    pub const COMMENT_CHARS: usize = 256;

    /// Always valid, without a comment.
    pub const NONE: Self = Self {
        not_before: None,
        expires: None,
        comment: None,
    };

    /// Returns the terms in a box, or `None` if they equal [`Terms::NONE`]. Saves memory for most
    /// identities.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::NONE).then(|| Box::new(self))
    }
}
