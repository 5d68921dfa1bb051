//! The seeds of a record in memory.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::time::UnixTime;
use super::totp::Totp;

/// The seeds of an identity.
#[derive(Debug, Default)]
pub struct Seeds(Kept);

/// The seeds, as small as those of most identities can be.
#[derive(Debug, Default)]
enum Kept {
    /// The stored seed cannot be decrypted, or the identity may not authenticate.
    #[default]
    Nothing,
    One(Totp),
    /// Those of an overlap. The current one may be missing.
    Overlap(Box<(Option<Totp>, Previous)>),
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

    /// Drops the seeds for every holder of the record.
    pub(super) fn forget(&self) {
        self.0.store(None);
    }

    /// Returns a slot that keeps the seeds when those of this slot are dropped.
    pub(super) fn copy(&self) -> Self {
        Self(ArcSwapOption::new(self.load()))
    }
}

impl Seeds {
    /// Combines the current seed, if it can be decrypted and the identity may authenticate, with the one
    /// before it, if there is one.
    pub fn new(present: Option<Totp>, previous: Option<Previous>) -> Self {
        Self(match (present, previous) {
            (None, None) => Kept::Nothing,
            (Some(totp), None) => Kept::One(totp),
            (present, Some(previous)) => Kept::Overlap(Box::new((present, previous))),
        })
    }

    /// Returns the current seed. Without one, every token but those of the replaced seed is rejected.
    pub fn present(&self) -> Option<&Totp> {
        match &self.0 {
            Kept::Nothing => None,
            Kept::One(totp) => Some(totp),
            Kept::Overlap(seeds) => seeds.0.as_ref(),
        }
    }

    /// Returns the replaced seed if its overlap has not ended at `now`.
    pub fn previous(&self, now: UnixTime) -> Option<&Totp> {
        let previous = self.replaced()?;
        (now < previous.until).then_some(&previous.totp)
    }

    /// Returns the replaced seed, whether its overlap has ended or not.
    pub fn replaced(&self) -> Option<&Previous> {
        match &self.0 {
            Kept::Nothing | Kept::One(_) => None,
            Kept::Overlap(seeds) => Some(&seeds.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::totp::Parameters;

    #[test]
    fn seeds_of_most_identities_have_32_bytes() {
        assert_eq!(size_of::<Seeds>(), 32);
    }

    #[test]
    fn each_seed_is_found_alone_and_with_the_other() {
        let totp = |byte| {
            Totp::new(
                &Seed::from_bytes(&[byte; 20]).unwrap(),
                Parameters::default(),
            )
        };
        let end = UnixTime::from_secs(5);
        let is =
            |found: Option<&Totp>, byte| found.is_some_and(|it| it.seed() == totp(byte).seed());
        for (has_present, has_previous) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let previous = has_previous.then(|| Previous {
                totp: totp(2),
                until: end,
            });
            let seeds = Seeds::new(has_present.then(|| totp(1)), previous);
            assert_eq!(is(seeds.present(), 1), has_present);
            assert_eq!(is(seeds.replaced().map(|it| &it.totp), 2), has_previous);
            let before = UnixTime::from_secs(4);
            assert_eq!(is(seeds.previous(before), 2), has_previous);
            assert!(seeds.previous(end).is_none());
        }
    }
}
