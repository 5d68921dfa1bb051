//! Estimates by how much a caller's clock is off, for the log.

use std::sync::atomic::Ordering;

use super::credential::Credential;
use super::local::{LocalAuthenticator, NEAR};
use super::matching::Match;
use super::time::UnixTime;

/// The largest offset that is searched, in steps: ten minutes with a period of 30 s.
const FAR: u8 = 20;

impl LocalAuthenticator {
    /// Returns by how many steps a rejected token is off, negative if it is late. Searches up to 20
    /// steps from the current one. `None` for a token near the window, whose denial already says so.
    ///
    /// Of a million guesses with 6 digits, about 70 match one of these steps by chance. The offset
    /// is a hint for operators; nothing may depend on it. At most one search runs per second, for
    /// any name and any rejection, so that the work reveals neither and a flood of guesses does not
    /// multiply it.
    pub(super) fn find_clock_offset(
        &self,
        credential: &Credential<'_>,
        now: UnixTime,
    ) -> Option<i64> {
        let second = now.as_secs();
        if self.searched.swap(second, Ordering::Relaxed) == second {
            return None;
        }
        let record = self.recall(credential.principal());
        let record = record.unwrap_or_default();
        let from = self.settings.window.saturating_add(NEAR).saturating_add(1);
        let checks = self.checks_within(from..=FAR, &record, credential, now);
        let found = checks.fold(None, |found, it| it.map(Match::offset).or(found));
        found.filter(|_| record.standing(now).is_ok())
    }
}
