//! The record that a decision is about.

use std::sync::Arc;

use super::credential::Token;
use super::decision::DenialCause;
use super::identity::{Identity, State};
use super::matching::Match;
use super::principal::PrincipalRef;
use super::seeds::Seeds;
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
    /// Returns the subject against which failures count, when the clock of the node shows `now` and that
    /// of failures `time`. An identity whose seed does not decrypt counts like an unknown name: its
    /// correct tokens are rejected too, which must not throttle it in processes that can decrypt the
    /// seed.
    pub(super) fn subject<'a>(
        &self,
        who: PrincipalRef<'a>,
        source: Source<'a>,
        (now, time): (UnixTime, UnixTime),
    ) -> Subject<'a> {
        let is_broken = self.standing(now) == Err(DenialCause::BrokenSeed);
        let known = self.identity.as_ref().filter(|_| !is_broken);
        let unthrottled = known.map(|it| unthrottled_at(it.unthrottled(), (now, time)));
        Subject {
            who,
            is_known: unthrottled.is_some(),
            is_broken,
            unthrottled: unthrottled.unwrap_or(UnixTime::from_secs(0)),
            source,
        }
    }

    /// Remembers a right token if the current seed made it.
    pub(super) fn remember(&self, token: Token<'_>, found: Match) {
        if let Some(totp) = self.seeds.present()
            && !found.is_of_previous
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
        } else if self.seeds.present().is_none() {
            Err(DenialCause::BrokenSeed)
        } else {
            Ok(())
        }
    }
}

/// The difference in seconds up to which two clocks count as equal.
const EQUAL: u64 = 2;

/// Returns when an identity was unthrottled, by the clock of failures. The time was written by the clock
/// of a node, and both clocks are given as they are now.
///
/// If the clock of the node is behind, it may have been set back since. Then the time stays as it is:
/// otherwise an attacker who can set the clock could make an old pardon count again and again.
pub(super) fn unthrottled_at(unthrottled: UnixTime, (now, time): (UnixTime, UnixTime)) -> UnixTime {
    let (written, now, time) = (unthrottled.as_secs(), now.as_secs(), time.as_secs());
    UnixTime::from_secs(match time.checked_sub(now) {
        Some(behind @ ..=EQUAL) => written.saturating_add(behind),
        Some(_) => written,
        None => written.saturating_sub(now - time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pardon_moves_with_the_clock_but_never_into_the_future() {
        let at = UnixTime::from_secs;
        let of = |written, now, time| unthrottled_at(at(written), (at(now), at(time))).as_secs();
        assert_eq!(of(1000, 5000, 5000), 1000);
        assert_eq!(of(1000, 5000, 5002), 1002);
        assert_eq!(of(1000, 5000, 5003), 1000);
        assert_eq!(of(1000, 5000, 4999), 999);
        assert_eq!(of(1000, 5000, 4200), 200);
        assert_eq!(of(1000, 5000, 0), 0);
    }
}
