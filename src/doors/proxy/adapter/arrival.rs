use std::sync::Arc;
use std::time::{Instant, SystemTime};

use pingora::protocols::http::ServerSession;

use crate::net::http::Peer;

/// The connection and the times of a request, an extension of its header.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) peer: Arc<Peer>,
    pub(super) began: Instant,
    pub(super) now: SystemTime,
}

/// Returns the connection of a request.
pub(in super::super) fn connection_of(session: &ServerSession) -> Option<&Peer> {
    arrival_of(session).map(|arrival| &*arrival.peer)
}

/// Returns when the header of a request was complete, and the time of the request.
pub(in super::super) fn times_of(session: &ServerSession) -> (Instant, SystemTime) {
    let times = arrival_of(session).map(|arrival| (arrival.began, arrival.now));
    times.unwrap_or_else(|| (Instant::now(), SystemTime::now()))
}

fn arrival_of(session: &ServerSession) -> Option<&Arrival> {
    session.req_header().extensions.get()
}
