//! Rejects requests that match no route, or more than one.

use crate::http::refusal::Refusal;
use crate::routing::input::Unreadable;
use crate::routing::route::Unrouted;
use crate::routing::target::Ambiguity;

impl From<Ambiguity> for Refusal {
    fn from(ambiguity: Ambiguity) -> Self {
        Self::Path(ambiguity.as_str())
    }
}

impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Host => Self::Host,
            Unreadable::Method => Self::Method,
            Unreadable::Trace => Self::Trace,
            Unreadable::Connect => Self::Connect,
            Unreadable::Path(ambiguity) => ambiguity.into(),
        }
    }
}

impl From<Unrouted> for Refusal {
    fn from(unrouted: Unrouted) -> Self {
        match unrouted {
            Unrouted::None => Self::NoRoute,
            Unrouted::Slashes(_) => Self::Slashes,
            Unrouted::Readings => Self::Readings,
        }
    }
}
