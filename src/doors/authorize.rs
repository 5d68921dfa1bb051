//! The one way from a request to a permit, at every door.

use std::sync::Arc;
use std::time::Instant;

use super::pace;
use crate::auth::{Attempt, Authority, Decision, Denial, Permit, Policy, UnixTime};
use crate::telemetry::{self, Door, Note, Seen, Tally};

/// An attempt, and what it asks for.
pub(crate) struct AuthRequest<'a> {
    pub(crate) door: Door,
    /// Counts the decision: of the route, or of requests without one.
    pub(crate) tally: &'a Arc<Tally>,
    pub(crate) attempt: &'a Attempt<'a>,
    pub(crate) policy: &'a Policy,
    pub(crate) now: UnixTime,
    /// When the request began to be read.
    pub(crate) began: Instant,
}

/// Asks the authority, and counts, logs and records its decision. `seen` returns what is logged of a denied
/// request. A denial that could reveal who exists takes until the end of a time slot.
///
/// # Errors
/// The denial.
pub(crate) async fn authorize<'a>(
    authority: &Authority,
    request: AuthRequest<'_>,
    seen: impl FnOnce() -> Seen<'a>,
    note: &mut Note,
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
            telemetry::permitted(door, tally, attempt, &permit, note);
            Ok(permit)
        }
        Decision::Denial(denial) => {
            telemetry::denied(door, tally, attempt, &denial, seen(), note);
            Err(denial)
        }
    };
    telemetry::decided(door, took, note);
    if let Err(denial) = &decided {
        // Within the time slot, so that the answer does not show it.
        if let Some(steps) = authority.clock_offset(attempt, denial, now) {
            telemetry::clock_is_off(attempt, steps, note);
        }
        pace::even_out(began, denial).await;
    }
    decided
}
