//! Authorizes requests at every door.

use std::sync::Arc;
use std::time::Instant;

use super::pace;
use crate::auth::{Attempt, Authority, Decision, Denial, Permit, Policy, UnixTime};
use crate::telemetry::{Door, Recorder, RequestLine, RequestRecord, Tally};

/// The input of an authorization.
pub(crate) struct AuthRequest<'a> {
    pub(crate) door: Door,
    /// Counts the decision: the counters of the route, or of requests without one.
    pub(crate) tally: &'a Arc<Tally>,
    pub(crate) attempt: &'a Attempt<'a>,
    pub(crate) policy: &'a Policy,
    pub(crate) now: UnixTime,
    /// When reading the request began.
    pub(crate) began: Instant,
}

/// Asks the authority, and counts, logs and records its decision. `request_line` returns the parts
/// of the request that are logged if it is denied. A denial that could reveal whether a principal
/// exists returns at the end of a time slot.
///
/// # Errors
/// The denial.
pub(crate) async fn authorize<'a>(
    authority: &Authority,
    recorder: &Recorder,
    request: AuthRequest<'_>,
    request_line: impl FnOnce() -> RequestLine<'a>,
    record: &mut RequestRecord,
) -> Result<Permit, Denial> {
    let AuthRequest {
        door,
        tally,
        attempt,
        policy,
        now,
        began,
    } = request;
    let decision = authority.decide(attempt, policy, now).await;
    let took = began.elapsed();
    let decided = match decision {
        Decision::Permit(permit) => {
            recorder.permitted(door, tally, attempt, &permit, record);
            Ok(permit)
        }
        Decision::Denial(denial) => {
            recorder.denied(door, tally, attempt, &denial, request_line(), record);
            Err(denial)
        }
    };
    recorder.decided(door, took, record);
    if let Err(denial) = &decided {
        // Within the time slot, so that the response time does not show this search.
        if let Some(steps) = authority.clock_offset(attempt, denial, now) {
            recorder.clock_is_off(attempt, steps, record);
        }
        pace::even_out(began, denial).await;
    }
    decided
}
