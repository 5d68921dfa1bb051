//! The connection of a request, as handlers see it.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
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
    /// The text of the client address, once it is needed.
    text: OnceLock<HeaderValue>,
}

impl Peer {
    pub(crate) fn new(
        address: Option<SocketAddr>,
        is_tls: bool,
        certificate: Option<ClientCertificate>,
    ) -> Self {
        Self {
            address,
            is_tls,
            certificate,
            text: OnceLock::new(),
        }
    }

    /// Returns the client address as a header value, made once per connection.
    pub(crate) fn forwarded_for(&self) -> Option<&HeaderValue> {
        let address = self.source()?;
        // An address is a valid header value.
        Some(self.text.get_or_init(|| {
            HeaderValue::try_from(address.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        }))
    }

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
