//! The seeds of a record in memory.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::time::UnixTime;
use super::totp::Totp;

/// The seeds of an identity.
#[derive(Debug, Default)]
pub struct Seeds {
    /// The current seed. `None` if the stored seed cannot be decrypted, or if the identity may not
    /// authenticate; then every token is rejected.
    pub present: Option<Totp>,
    /// The seed before the current one, during its overlap. Boxed, because few identities have one.
    pub previous: Option<Box<Previous>>,
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
    /// Returns the replaced seed if its overlap has not ended at `now`.
    pub fn previous(&self, now: UnixTime) -> Option<&Totp> {
        let previous = self.previous.as_ref()?;
        (now < previous.until).then_some(&previous.totp)
    }
}
