//! The record that a decision is about.

use std::sync::Arc;

use super::credential::Token;
use super::decision::DenialCause;
use super::identity::{Identity, Seeds, State};
use super::matching::Match;
use super::principal::PrincipalRef;
use super::throttle::{Source, Subject};
use super::time::UnixTime;

/// The identity of a principal, with its seeds as they were when it was read. The default is the
/// record of an unknown principal.
#[derive(Default)]
pub(super) struct Record {
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) seeds: Arc<Seeds>,
}

impl Record {
    /// Returns the subject against which failures count. An identity whose seed does not decrypt
    /// counts like an unknown name: its correct tokens are rejected too, which must not throttle it
    /// in processes that can decrypt the seed.
    pub(super) fn subject<'a>(
        &self,
        who: PrincipalRef<'a>,
        source: Source<'a>,
        now: UnixTime,
    ) -> Subject<'a> {
        let is_broken = self.standing(now) == Err(DenialCause::BrokenSeed);
        let known = self.identity.as_ref().filter(|_| !is_broken);
        let unthrottled = known.map(|it| it.unthrottled);
        Subject {
            who,
            is_known: unthrottled.is_some(),
            is_broken,
            unthrottled: unthrottled.unwrap_or(UnixTime::from_secs(0)),
            source,
        }
    }

    /// Remembers a right token if it is of the current step.
    pub(super) fn remember(&self, token: Token<'_>, found: Match) {
        if let Some(totp) = &self.seeds.present
            && !found.is_of_previous
            && found.step == found.current
        {
            totp.remember(token, found.step);
        }
    }

    /// Checks whether the identity may authenticate.
    ///
    /// # Errors
    /// The rejection, regardless of the token.
    pub(super) fn standing(&self, now: UnixTime) -> Result<(), DenialCause> {
        let identity = self.identity.as_ref().ok_or(DenialCause::Unknown)?;
        let terms = identity.terms();
        // An identity that may not authenticate has no seeds in memory, so they are checked last.
        if identity.state == State::Disabled {
            Err(DenialCause::Disabled)
        } else if terms.not_before.is_some_and(|from| now < from) {
            Err(DenialCause::NotYetValid)
        } else if terms.expires.is_some_and(|until| now >= until) {
            Err(DenialCause::Expired)
        } else if self.seeds.present.is_none() {
            Err(DenialCause::BrokenSeed)
        } else {
            Ok(())
        }
    }
}
