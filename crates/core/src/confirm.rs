//! Whether a principal that was authenticated before could still authenticate.

use super::checked::invalid;
use super::decision::{Authenticated, Denial, DenialCause, Name};
use super::identity::Identity;
use super::local::LocalAuthenticator;
use super::time::UnixTime;

impl LocalAuthenticator {
    /// Checks that the identity may authenticate now, and accepts the seed of the token.
    ///
    /// # Errors
    /// The denial.
    pub(super) async fn confirm_identity(
        &self,
        proven: &Authenticated,
        now: UnixTime,
    ) -> Result<(), Denial> {
        let Name::Identity(was) = &proven.name else {
            return Err(invalid(DenialCause::Unknown));
        };
        let who = was.principal.as_ref();
        let record = match self.recall(who) {
            Some(record) => record,
            None => self.find(who).await.map_err(Denial::Unavailable)?,
        };
        record.standing(now).map_err(invalid)?;
        let identity = record.identity.filter(|it| it.id == was.id);
        let identity = identity.ok_or(invalid(DenialCause::Unknown))?;
        let has_previous = record.seeds.previous(now).is_some();
        match accepts(&identity, has_previous, was, proven.is_of_previous) {
            true => Ok(()),
            false => Err(invalid(DenialCause::WrongToken)),
        }
    }
}

/// Returns whether an identity has the seed that it had before. No two seeds of an identity are made
/// at the same time.
fn accepts(now: &Identity, has_previous: bool, was: &Identity, is_of_previous: bool) -> bool {
    let made = match is_of_previous {
        true => was.previous_made(),
        false => was.history.seed_made,
    };
    let is_present = !is_of_previous && made == now.history.seed_made;
    is_present || (has_previous && made == now.previous_made())
}
