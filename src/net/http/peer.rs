//! The connection of a request, as handlers see it.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use http::HeaderValue;
use http::uri::Scheme;

use crate::net::accept::ClientCertificate;

/// The connection of a request, as handlers see it.
pub(crate) struct Peer {
    /// The client address; behind a load balancer, that in its PROXY header. `None` over a Unix
    /// socket.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) is_tls: bool,
    /// The verified client certificate.
    pub(crate) certificate: Option<ClientCertificate>,
}

impl Peer {
    /// Returns the address for which attempts are counted.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.address.map(|peer| peer.ip().to_canonical())
    }

    /// Returns the URL scheme of the connection.
    pub(crate) fn scheme(&self) -> Scheme {
        match self.is_tls {
            true => Scheme::HTTPS,
            false => Scheme::HTTP,
        }
    }

    /// Returns the subject of the client certificate.
    pub(crate) fn subject(&self) -> Option<&HeaderValue> {
        self.certificate.as_ref()?.subject()
    }

    /// Returns whether the client certificate, if there is one, is still valid.
    pub(crate) fn is_still_good(&self, now: SystemTime) -> bool {
        let certificate = self.certificate.as_ref();
        certificate.is_none_or(|certificate| certificate.is_still_good(now))
    }
}
