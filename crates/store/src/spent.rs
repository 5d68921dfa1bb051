//! The used steps of one-time tokens, as the database has them.

use crate::record::RecordError;
use realmgate_core::{IdentityId, Parameters, Step, UnixTime, UsedSteps};

/// The maximum number of identities with bad steps that are named.
pub(super) const NAMED: usize = 100;

/// The number of rows per read.
pub(super) const READ: u32 = 1000;

/// The number of steps that may be accepted before their time, at most: `totp.window` is no larger.
const AHEAD: u64 = 10;

/// Reads the used steps of an identity.
///
/// # Errors
/// [`RecordError::Steps`]: nobody knows which tokens were used, so none may pass.
pub(super) fn used_steps(id: IdentityId, bytes: &[u8]) -> Result<UsedSteps, RecordError> {
    UsedSteps::from_bytes(bytes).ok_or(RecordError::Steps(id))
}

/// Returns used steps in place of some that cannot be read: all whose tokens may have been used.
/// `None` if they can be read.
pub(super) fn mended(bytes: &[u8], parameters: Parameters, now: UnixTime) -> Option<Vec<u8>> {
    match UsedSteps::from_bytes(bytes) {
        Some(_) => None,
        None => {
            let current = now.as_secs() / u64::from(parameters.period());
            Some(UsedSteps::up_to(Step(current.saturating_add(AHEAD))).to_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_cannot_be_read_are_replaced_by_all_that_may_have_been_used() {
        let (parameters, now) = (Parameters::default(), UnixTime::from_secs(3000));
        let good = UsedSteps::up_to(Step(7)).to_bytes();
        assert_eq!(mended(&good, parameters, now), None);
        assert!(used_steps(IdentityId(1), b"garbage").is_err());
        let new = mended(b"garbage", parameters, now).unwrap();
        let new = used_steps(IdentityId(1), &new).unwrap();
        assert_eq!(new, UsedSteps::up_to(Step(110)));
    }
}
