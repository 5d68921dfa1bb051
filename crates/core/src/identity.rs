use std::sync::Arc;

use arc_swap::ArcSwapOption;

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
    /// Its number.
    pub id: IdentityId,
    /// Who it is.
    pub principal: Principal,
    /// Its seeds.
    pub seeds: SeedSlot,
    /// How it makes tokens.
    pub parameters: Parameters,
    /// Whether it may authenticate.
    pub state: State,
    /// From when to when it may, and what people wrote about it; most have none.
    pub terms: Option<Box<Terms>>,
    /// Failures before this no longer count against it.
    pub pardoned: UnixTime,
    /// How it has been used.
    pub usage: Usage,
    /// When it was registered.
    pub created: UnixTime,
    /// When it was last changed.
    pub updated: UnixTime,
}

/// The seeds of an identity.
#[derive(Debug, Default)]
pub struct Seeds {
    /// The present one, ready to check tokens. Without one every token is refused: the sealed seed does not
    /// open, or the identity may not authenticate.
    pub present: Option<Totp>,
    /// The one before it, while it counts.
    pub previous: Option<Previous>,
}

/// The seed that an identity had before the present one.
#[derive(Debug)]
pub struct Previous {
    /// Ready to check tokens.
    pub totp: Totp,
    /// When it ceases to count.
    pub until: UnixTime,
}

/// Where a record keeps its seeds. They can be dropped while others hold the record: a permit holds it for
/// as long as a connection lasts.
#[derive(Debug)]
pub struct SeedSlot(ArcSwapOption<Seeds>);

impl From<Seeds> for SeedSlot {
    fn from(seeds: Seeds) -> Self {
        Self(ArcSwapOption::from_pointee(seeds))
    }
}

impl SeedSlot {
    /// Returns the seeds; none if they were forgotten.
    pub fn load(&self) -> Option<Arc<Seeds>> {
        self.0.load_full()
    }
}

impl Seeds {
    /// Returns the seed before the present one, if it still counts.
    pub fn previous(&self, now: UnixTime) -> Option<&Totp> {
        let previous = self.previous.as_ref()?;
        (now < previous.until).then_some(&previous.totp)
    }
}

impl Identity {
    /// Returns its seeds; none if they were forgotten, and then the record must be read again.
    pub fn seeds(&self) -> Option<Arc<Seeds>> {
        self.seeds.load()
    }

    /// Drops its seeds, whoever else holds the record. Their memory is zeroed once no token is being checked.
    pub fn forget_seeds(&self) {
        self.seeds.0.store(None);
    }

    /// Returns its present seed, if it opens.
    pub fn seed(&self) -> Option<Seed> {
        Some(self.seeds()?.present.as_ref()?.seed())
    }

    /// Returns until when the seed before the present one counts, if there is one.
    pub fn previous_until(&self) -> Option<UnixTime> {
        Some(self.seeds()?.previous.as_ref()?.until)
    }

    /// Returns when it may authenticate, besides its state.
    pub fn terms(&self) -> &Terms {
        self.terms.as_deref().unwrap_or(&Terms::NONE)
    }

    /// Returns the record as memory may hold it at the time `now`: without seeds that nothing may be proved
    /// with. Then it is a copy.
    pub fn without_idle_seeds(self: &Arc<Self>, now: UnixTime) -> Arc<Self> {
        let is_expired = self.terms().expires.is_some_and(|until| now >= until);
        let seeds = if self.state == State::Disabled || is_expired {
            Seeds::default()
        } else if self.previous_until().is_some_and(|until| now >= until) {
            let present = self.seeds().and_then(|seeds| seeds.present.clone());
            Seeds {
                present,
                previous: None,
            }
        } else {
            return Arc::clone(self);
        };
        Arc::new(self.with(seeds.into()))
    }

    /// Returns a copy that keeps its seeds when those of this record are forgotten.
    #[must_use]
    pub fn copy(&self) -> Self {
        self.with(SeedSlot(ArcSwapOption::new(self.seeds())))
    }

    /// Returns the time, after `now`, from which a seed must not be in memory any more.
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
            pardoned: self.pardoned,
            usage: self.usage.copy(),
            created: self.created,
            updated: self.updated,
        }
    }
}

/// When an identity may authenticate, besides its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Not before this.
    pub not_before: Option<UnixTime>,
    /// Not from this on.
    pub expires: Option<UnixTime>,
    /// What people wrote about it, at most [`Terms::COMMENT_CHARS`] characters.
    pub comment: Option<Box<str>>,
}

impl Terms {
    /// The most characters of a comment.
    pub const COMMENT_CHARS: usize = 256;

    /// Always, and nothing was written.
    pub const NONE: Self = Self {
        not_before: None,
        expires: None,
        comment: None,
    };

    /// Returns them as an identity holds them: in no room if there are none.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::NONE).then(|| Box::new(self))
    }
}
