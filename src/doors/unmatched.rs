//! Rejects requests that match no route, or more than one.

use crate::http::rejection::Rejection;
use crate::routing::input::Unreadable;
use crate::routing::route::Unrouted;
use crate::routing::target::Ambiguity;

impl From<Ambiguity> for Rejection {
    fn from(ambiguity: Ambiguity) -> Self {
        Self::Path(ambiguity.as_str())
    }
}

impl From<Unreadable> for Rejection {
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

impl From<Unrouted> for Rejection {
    fn from(unrouted: Unrouted) -> Self {
        match unrouted {
            Unrouted::None => Self::NoRoute,
            Unrouted::Slashes(_) => Self::Slashes,
            Unrouted::Readings => Self::Readings,
        }
    }
}
