//! Authorizes requests at every door.

use std::sync::Arc;
use std::time::Instant;

use super::pace;
use crate::auth::{Attempt, Authority, Decision, Denial, Mode, Permit, Policy, UnixTime};
use crate::telemetry::{Door, Recorder, RequestLine, RequestRecord, Tally};

/// The input of an authorization.
pub(crate) struct AuthRequest<'a> {
    pub(crate) door: Door,
    /// Counts the decision: the counters of the route, or of requests without one.
    pub(crate) tally: &'a Arc<Tally>,
    pub(crate) attempt: &'a Attempt<'a>,
    pub(crate) policy: &'a Policy,
    /// Whether the policy is enforced.
    pub(crate) mode: Mode,
    pub(crate) now: UnixTime,
    /// When reading the request began.
    pub(crate) began: Instant,
}

/// Asks the authority, and counts, logs and records its decision. `request_line` returns the parts
/// of the request that are logged if it is denied. A denial that could reveal whether a principal
/// exists returns at the end of a time slot, also if the policy is only observed and the request
/// passes.
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
        mode,
        now,
        began,
    } = request;
    let decided = match mode {
        Mode::Enforce => match authority.decide(attempt, policy, now).await {
            Decision::Permit(permit) => Ok(permit),
            Decision::Denial(denial) => Err((denial, None)),
        },
        Mode::Observe => match authority.observe(attempt, policy, now).await {
            (permit, None) => Ok(permit),
            (permit, Some(denial)) => Err((denial, Some(permit))),
        },
    };
    let took = began.elapsed();
    match &decided {
        Ok(permit) => recorder.permitted(door, tally, attempt, permit, record),
        Err((denial, passed)) => {
            let denied = (denial, passed.as_ref());
            recorder.denied((door, tally), attempt, denied, request_line(), record);
        }
    }
    recorder.decided(door, took, record);
    let (denial, passed) = match decided {
        Ok(permit) => return Ok(permit),
        Err(denied) => denied,
    };
    // Within the time slot, so that the response time does not show this search.
    if let Some(steps) = authority.clock_offset(attempt, &denial, now) {
        recorder.clock_is_off(attempt, steps, record);
    }
    // Boxed, so that requests that pass have smaller futures.
    Box::pin(pace::even_out(began, &denial)).await;
    passed.ok_or(denial)
}
