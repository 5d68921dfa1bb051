//! `[compat]`.

use super::raw;
use super::scalar::flag;
use super::source::Source;

/// `[compat]`: behavior of ungleich-otp that is off by default.
#[derive(Clone, Copy, Debug)]
pub struct Compat {
    /// Whether lists contain seeds.
    pub reveal_seeds: bool,
}

impl Source<'_> {
    pub(super) fn compat(&self, raw: &raw::Compat) -> Compat {
        Compat {
            reveal_seeds: flag(raw.reveal_seeds.as_ref()),
        }
    }
}
