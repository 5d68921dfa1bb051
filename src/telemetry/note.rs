//! What is noted of a request on its way, for the line and the spans that tell of it when it has been
//! answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::metrics::{Door, Tally};
use crate::auth::{Attempt, Permit, Principal, PrincipalRef};

/// What is noted of a request; nothing where nobody will tell of it.
#[derive(Debug, Default)]
pub struct Note {
    /// The digits of the request's id, if it has one.
    request: Option<[u8; 32]>,
    noted: Option<Box<Noted>>,
}

#[derive(Debug)]
struct Noted {
    door: Door,
    /// None while there is none.
    tally: Option<Arc<Tally>>,
    who: Who,
    source: Option<IpAddr>,
    /// None for a permit.
    reason: Option<&'static str>,
    took: Option<Duration>,
}

#[derive(Debug)]
enum Who {
    Nobody,
    Claimed(Principal),
    Proved(Permit),
}

impl Note {
    /// Makes a note of a request, of which nothing is known but its id.
    pub fn of(request: [u8; 32]) -> Self {
        Self {
            request: Some(request),
            noted: None,
        }
    }

    /// Makes another note of the same request.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            request: self.request,
            noted: None,
        }
    }

    /// Returns the id of the request.
    pub fn request(&self) -> Option<&str> {
        let digits = self.request.as_ref()?;
        str::from_utf8(digits).ok()
    }

    /// Notes a permit.
    pub(super) fn permitted(
        &mut self,
        door: Door,
        tally: &Arc<Tally>,
        attempt: &Attempt<'_>,
        permit: &Permit,
    ) {
        self.noted = Some(Box::new(Noted {
            door,
            tally: Some(Arc::clone(tally)),
            who: Who::Proved(permit.clone()),
            source: attempt.source.address,
            reason: None,
            took: None,
        }));
    }

    /// Notes a denial.
    pub(super) fn denied(
        &mut self,
        door: Door,
        tally: &Arc<Tally>,
        attempt: &Attempt<'_>,
        reason: &'static str,
    ) {
        let claimed = attempt.principal().map(PrincipalRef::to_owned);
        self.noted = Some(Box::new(Noted {
            door,
            tally: Some(Arc::clone(tally)),
            who: claimed.map_or(Who::Nobody, Who::Claimed),
            source: attempt.source.address,
            reason: Some(reason),
            took: None,
        }));
    }

    /// Notes that a request was refused before anything was decided.
    pub(super) fn refused(&mut self, door: Door, source: Option<IpAddr>, reason: &'static str) {
        self.noted = Some(Box::new(Noted {
            door,
            tally: None,
            who: Who::Nobody,
            source,
            reason: Some(reason),
            took: None,
        }));
    }

    /// Notes how long the decision took.
    pub(super) fn decided(&mut self, took: Duration) {
        if let Some(noted) = &mut self.noted {
            noted.took = Some(took);
        }
    }

    /// Returns the door, if the request came to one.
    pub(super) fn door(&self) -> Option<Door> {
        self.noted.as_ref().map(|noted| noted.door)
    }

    /// Returns the name of the route, if there is one.
    pub(super) fn route(&self) -> Option<&str> {
        self.noted.as_ref()?.tally.as_ref()?.route()
    }

    /// Returns who the request came from: proved if permitted, claimed if denied.
    pub(super) fn principal(&self) -> Option<PrincipalRef<'_>> {
        match &self.noted.as_ref()?.who {
            Who::Nobody => None,
            Who::Claimed(principal) => Some(principal.as_ref()),
            Who::Proved(permit) => permit.principal(),
        }
    }

    /// Returns the realm of whoever proved themselves.
    pub(super) fn proved_realm(&self) -> Option<&str> {
        match &self.noted.as_ref()?.who {
            Who::Proved(permit) => permit.principal().map(PrincipalRef::realm),
            Who::Nobody | Who::Claimed(_) => None,
        }
    }

    /// Returns `permitted` or `denied`, if something was decided.
    pub(super) fn decision(&self) -> Option<&'static str> {
        let noted = self.noted.as_ref()?;
        Some(if noted.reason.is_some() {
            "denied"
        } else {
            "permitted"
        })
    }

    /// Returns why it was denied or refused.
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.noted.as_ref()?.reason
    }

    /// Returns where failures are counted.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.noted.as_ref()?.source
    }

    /// Returns how long the decision took.
    pub(super) fn took(&self) -> Option<Duration> {
        self.noted.as_ref()?.took
    }
}

/// Where whoever answers a request leaves its note.
#[derive(Clone, Debug, Default)]
pub struct NoteSlot(Arc<Mutex<Note>>);

impl NoteSlot {
    /// Makes one with a note in it.
    pub fn new(note: Note) -> Self {
        Self(Arc::new(Mutex::new(note)))
    }

    /// Makes another note of the same request.
    pub fn another(&self) -> Note {
        self.0.lock().another()
    }

    /// Leaves a note.
    pub fn set(&self, note: Note) {
        *self.0.lock() = note;
    }

    /// Takes it.
    pub fn take(&self) -> Note {
        std::mem::take(&mut *self.0.lock())
    }
}
