//! Estimates by how much a caller's clock is off, for the log.

use std::sync::atomic::Ordering;

use super::authority::{Authority, Match, NEAR, Record, standing};
use super::credential::Presented;
use super::decision::{Attempt, Denial};
use super::store::Recall;
use super::time::UnixTime;

/// The largest offset that is searched, in steps: ten minutes with a period of 30 s.
const FAR: u8 = 20;

impl Authority {
    /// Returns by how many steps the token of a rejected attempt is off, negative if it is late.
    /// Searches up to 20 steps from the current one. `None` for a token near the window, whose
    /// denial already says so.
    ///
    /// Of a million guesses with 6 digits, about 70 match one of these steps by chance. The offset
    /// is a hint for operators; nothing may depend on it. At most one search runs per second, for
    /// any name and any rejection, so that the work reveals neither and a flood of guesses does not
    /// multiply it.
    pub fn clock_offset(
        &self,
        attempt: &Attempt<'_>,
        denial: &Denial,
        now: UnixTime,
    ) -> Option<i64> {
        let (Denial::Refused { .. }, Presented::Credential(credential)) =
            (denial, &attempt.presented)
        else {
            return None;
        };
        let second = now.as_secs();
        if self.searched.swap(second, Ordering::Relaxed) == second {
            return None;
        }
        let record = match self.store.recall(credential.principal()) {
            Recall::Known(identity) => self.record(Some(identity)),
            Recall::Unknown | Recall::Nothing => None,
        };
        let record = record.unwrap_or_else(Record::default);
        let from = self.settings.window.saturating_add(NEAR).saturating_add(1);
        let checks = self.checks_within(from..=FAR, &record, credential, now);
        let found = checks.fold(None, |found, it| it.map(Match::offset).or(found));
        found.filter(|_| standing(&record, now).is_ok())
    }
}
