//! What a request holds while it is at an upstream.

use std::sync::Arc;

use pingora::lb::Backend;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::HttpPeer;

use super::discovery::Known;

/// Where a request goes next.
pub(crate) struct Next {
    pub(crate) peer: Box<HttpPeer>,
    pub(crate) chosen: Chosen,
}

/// The peer that a request is at, until this is dropped.
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

    /// Returns where the peer is.
    pub(crate) fn address(&self) -> &SocketAddr {
        &self.address
    }

    /// Notes that a connection was made.
    pub(crate) fn connected(&self) {
        // It was tried since the other family of addresses does not answer.
        if self.known.is_standby(&self.address) {
            self.known.prefer(&self.address);
        }
    }

    /// Notes that the peer answered, whatever it was.
    pub(crate) fn answered(&self) {
        self.known.state.answered();
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.known.state.leave();
    }
}
