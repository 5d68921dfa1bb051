//! The record of a request: what its line in the access log and its spans show once it has its response.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::decisions::{OBSERVED, Tally};
use super::door::Door;
use crate::auth::{Attempt, Permit, Principal, PrincipalRef};
use crate::http::request_id::RequestId;

/// The id of a request and the outcome of its decision. The outcome is kept only while requests are logged or
/// traced.
#[derive(Debug, Default)]
pub struct RequestRecord {
    /// The id of the request, if it has one.
    request: Option<RequestId>,
    /// Its hexadecimal digits, once they are needed.
    digits: OnceLock<[u8; 32]>,
    outcome: Option<Box<Outcome>>,
}

#[derive(Debug)]
struct Outcome {
    door: Door,
    /// `None` if the request was rejected before the credential was read.
    tally: Option<Arc<Tally>>,
    principal: Claim,
    source: Option<IpAddr>,
    decision: Decided,
    /// `None` for a permit.
    reason: Option<&'static str>,
    took: Option<Duration>,
}

/// The decision, as the access log names it.
#[derive(Clone, Copy, Debug)]
enum Decided {
    Permitted,
    Denied,
    Observed,
}

#[derive(Debug)]
enum Claim {
    None,
    Claimed(Principal),
    Proved(Permit),
}

impl Claim {
    fn of(attempt: &Attempt<'_>) -> Self {
        let claimed = attempt.principal().map(PrincipalRef::to_owned);
        claimed.map_or(Self::None, Self::Claimed)
    }
}

impl RequestRecord {
    /// Makes the record of a request that has no outcome yet.
    pub(crate) fn new(request: RequestId) -> Self {
        Self {
            request: Some(request),
            ..Self::default()
        }
    }

    /// Makes another record of the same request, without an outcome.
    #[must_use]
    pub fn with_same_id(&self) -> Self {
        Self {
            request: self.request,
            ..Self::default()
        }
    }

    /// Returns the id of the request.
    pub fn request_id(&self) -> Option<&str> {
        let request = self.request?;
        str::from_utf8(self.digits.get_or_init(|| request.digits())).ok()
    }

    /// Records a permit.
    pub(super) fn permitted(
        &mut self,
        door: Door,
        tally: &Arc<Tally>,
        attempt: &Attempt<'_>,
        permit: &Permit,
    ) {
        self.outcome = Some(Box::new(Outcome {
            door,
            tally: Some(Arc::clone(tally)),
            principal: Claim::Proved(permit.clone()),
            source: attempt.source.address,
            decision: Decided::Permitted,
            reason: None,
            took: None,
        }));
    }

    /// Records a denial.
    pub(super) fn denied(
        &mut self,
        door: Door,
        tally: &Arc<Tally>,
        attempt: &Attempt<'_>,
        reason: &'static str,
    ) {
        self.outcome = Some(Box::new(Outcome {
            door,
            tally: Some(Arc::clone(tally)),
            principal: Claim::of(attempt),
            source: attempt.source.address,
            decision: Decided::Denied,
            reason: Some(reason),
            took: None,
        }));
    }

    /// Records a request that passes although its policy denies it.
    pub(super) fn observed(
        &mut self,
        (door, tally): (Door, &Arc<Tally>),
        attempt: &Attempt<'_>,
        permit: &Permit,
        reason: &'static str,
    ) {
        let is_proved = permit.principal().is_some();
        self.outcome = Some(Box::new(Outcome {
            door,
            tally: Some(Arc::clone(tally)),
            principal: match is_proved {
                true => Claim::Proved(permit.clone()),
                false => Claim::of(attempt),
            },
            source: attempt.source.address,
            decision: Decided::Observed,
            reason: Some(reason),
            took: None,
        }));
    }

    /// Records that a request was rejected before the credential was read.
    pub(super) fn rejected(&mut self, door: Door, source: Option<IpAddr>, reason: &'static str) {
        self.outcome = Some(Box::new(Outcome {
            door,
            tally: None,
            principal: Claim::None,
            source,
            decision: Decided::Denied,
            reason: Some(reason),
            took: None,
        }));
    }

    /// Records the time to the decision.
    pub(super) fn decided(&mut self, took: Duration) {
        if let Some(outcome) = &mut self.outcome {
            outcome.took = Some(took);
        }
    }

    /// Returns the door, if the request reached one.
    pub(super) fn door(&self) -> Option<Door> {
        self.outcome.as_ref().map(|outcome| outcome.door)
    }

    /// Returns the name of the route, if there is one.
    pub(super) fn route(&self) -> Option<&str> {
        self.outcome.as_ref()?.tally.as_ref()?.route()
    }

    /// Returns the principal: authenticated if permitted, else claimed.
    pub(super) fn principal(&self) -> Option<PrincipalRef<'_>> {
        match &self.outcome.as_ref()?.principal {
            Claim::None => None,
            Claim::Claimed(principal) => Some(principal.as_ref()),
            Claim::Proved(permit) => permit.principal(),
        }
    }

    /// Returns the realm of an authenticated principal.
    pub(super) fn proved_realm(&self) -> Option<&str> {
        match &self.outcome.as_ref()?.principal {
            Claim::Proved(permit) => permit.principal().map(PrincipalRef::realm),
            Claim::None | Claim::Claimed(_) => None,
        }
    }

    /// Returns `permitted`, `denied` or `observed`, if the request has an outcome.
    pub(super) fn decision(&self) -> Option<&'static str> {
        let outcome = self.outcome.as_ref()?;
        Some(match outcome.decision {
            Decided::Permitted => "permitted",
            Decided::Denied => "denied",
            Decided::Observed => OBSERVED,
        })
    }

    /// Returns the reason of a denial or rejection.
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.outcome.as_ref()?.reason
    }

    /// Returns the address that failures are counted under.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.outcome.as_ref()?.source
    }

    /// Returns the time to the decision.
    pub(super) fn took(&self) -> Option<Duration> {
        self.outcome.as_ref()?.took
    }
}

/// A place for a record in the extensions of a request, shared with the handler.
#[derive(Clone, Debug, Default)]
pub struct RecordSlot(Arc<Mutex<RequestRecord>>);

impl RecordSlot {
    /// Makes a slot that holds a record.
    pub fn new(record: RequestRecord) -> Self {
        Self(Arc::new(Mutex::new(record)))
    }

    /// Makes another record of the same request.
    pub fn with_same_id(&self) -> RequestRecord {
        self.0.lock().with_same_id()
    }

    /// Replaces the record.
    pub fn set(&self, record: RequestRecord) {
        *self.0.lock() = record;
    }

    /// Takes the record out.
    pub fn take(&self) -> RequestRecord {
        std::mem::take(&mut *self.0.lock())
    }
}
