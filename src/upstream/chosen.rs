//! The peer that was chosen for a request.

use std::sync::Arc;

use pingora::lb::Backend;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::HttpPeer;

use super::discovery::Known;

/// The peer that a request is sent to next.
pub(crate) struct Next {
    pub(crate) peer: Box<HttpPeer>,
    pub(crate) chosen: Chosen,
}

/// Counts a request at a peer until it is dropped.
pub(crate) struct Chosen {
    address: SocketAddr,
    pub(crate) known: Arc<Known>,
}

impl Chosen {
    pub(crate) fn new(backend: &Backend) -> Option<Self> {
        let known = Arc::clone(Known::of(backend)?);
        known.state.enter();
        Some(Self {
            address: backend.addr.clone(),
            known,
        })
    }

    /// Returns the address of the peer.
    pub(crate) fn address(&self) -> &SocketAddr {
        &self.address
    }

    /// Records that a connection was established.
    pub(crate) fn connected(&self) {
        // A standby address is tried only if the other address family does not respond.
        if self.known.is_standby(&self.address) {
            self.known.prefer(&self.address);
        }
    }

    /// Records that the peer responded, with any status.
    pub(crate) fn responded(&self) {
        self.known.state.responded();
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.known.state.leave();
    }
}
