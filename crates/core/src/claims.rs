//! Claims the right to evaluate attempts beyond the free ones, where several nodes share a database.

use std::time::Duration;

use super::checked::{Found, NotFound};
use super::credential::Credential;
use super::decision::{Denial, DenialCause};
use super::local::LocalAuthenticator;
use super::record::Record;
use super::store::StoreError;
use super::throttle::{Claim, ClaimOutcome, Claimed, Source, Throttled};
use super::time::UnixTime;

/// How long no attempt asks the database again after it has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

impl LocalAuthenticator {
    /// Checks a credential against a record, with a claim if it needs one. Without the claim the
    /// token is not evaluated: while another node has it, the principal is throttled, and if the
    /// database cannot tell, the attempt is denied. Known and unknown names claim alike. If the
    /// record was not recalled, and its read has just failed, nothing more is asked of the database.
    pub(super) async fn check_claiming(
        &self,
        (record, was_recalled): (&Record, bool),
        credential: &Credential<'_>,
        source: Source<'_>,
        now: UnixTime,
    ) -> Result<Found, Denial> {
        let claim = match self.check(record, credential, (source, Claimed::No), now) {
            Ok(found) => return Ok(found),
            Err(NotFound::Denied(denial)) => return Err(denial),
            Err(NotFound::Unclaimed(claim)) => claim,
        };
        if !was_recalled && self.identities.is_failing() {
            return Err(Denial::Unavailable(StoreError::Timeout));
        }
        let granted = match self.counters.claim(claim).await {
            Ok(ClaimOutcome::Granted(number)) => number,
            Ok(ClaimOutcome::Denied(left)) => {
                self.close(&claim, left, now);
                return Err(throttled(left));
            }
            Err(error) => {
                self.close(&claim, AFTER_FAILURE, now);
                return Err(Denial::Unavailable(error));
            }
        };
        let checked = self.check(record, credential, (source, Claimed::Yes), now);
        // If that fails, the claim ends by itself, and the failure counts in memory.
        let ended = self.counters.end(claim, granted, is_guess(&checked));
        let _ = ended.await;
        checked.map_err(|error| match error {
            NotFound::Denied(denial) => denial,
            NotFound::Unclaimed(Claim { lasts, .. }) => throttled(lasts),
        })
    }

    fn close(&self, claim: &Claim, left: Duration, now: UnixTime) {
        let time = self.counters.failure_time(now);
        self.throttle.close(claim, left, time);
    }
}

fn throttled(retry_after: Duration) -> Denial {
    Denial::Throttled {
        retry_after,
        whom: Throttled::Principal,
    }
}

/// Returns whether an attempt counts as a failure, or may have met one that another attempt has
/// counted meanwhile.
fn is_guess(checked: &Result<Found, NotFound>) -> bool {
    match checked {
        Ok(_) => false,
        Err(NotFound::Denied(Denial::InvalidCredential { cause, .. })) => {
            !matches!(cause, DenialCause::OutsideWindow { .. })
        }
        Err(_) => true,
    }
}
