//! The connection of a request, as handlers may know it.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use http::HeaderValue;
use http::uri::Scheme;

use crate::net::accept::ClientCertificate;

/// The connection of a request, as handlers may know it.
pub(crate) struct Peer {
    /// Where it comes from; behind a load balancer, what its PROXY header says. None over a Unix socket.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) is_tls: bool,
    /// By which the client has proved itself.
    pub(crate) certificate: Option<ClientCertificate>,
}

impl Peer {
    /// Returns the address that attempts are counted by.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.address.map(|peer| peer.ip().to_canonical())
    }

    /// Returns the scheme that the client speaks.
    pub(crate) fn scheme(&self) -> Scheme {
        match self.is_tls {
            true => Scheme::HTTPS,
            false => Scheme::HTTP,
        }
    }

    /// Returns the subject of the certificate by which the client proved itself.
    pub(crate) fn subject(&self) -> Option<&HeaderValue> {
        self.certificate.as_ref()?.subject()
    }

    /// Says whether a client, if it has proved itself by a certificate, may still go by it.
    pub(crate) fn is_still_good(&self, now: SystemTime) -> bool {
        let certificate = self.certificate.as_ref();
        certificate.is_none_or(|certificate| certificate.is_still_good(now))
    }
}
