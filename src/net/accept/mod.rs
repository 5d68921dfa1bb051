//! Everything before HTTP on a connection: the PROXY protocol, TLS, and the detection of the HTTP
//! version.

mod cleartext;
mod plain;
pub(crate) mod proxy_protocol;
mod start;
mod subject;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::metrics::NetMetrics;
use super::stream::{Rewound, Stream, Transport};
use crate::config::{self, NetworkSet};
pub(crate) use start::{BadStart, Http};
pub(crate) use tls::ClientCertificate;
use tls::Tls;

/// How the connections of a listener begin.
pub(crate) struct Acceptor {
    tls: Option<Tls>,
    h2c: bool,
    proxy_protocol: NetworkSet,
}

impl Acceptor {
    /// Makes it from a configuration.
    ///
    /// # Errors
    /// Client certificates are requested, but no CA is configured.
    pub(crate) fn new(
        transport: &config::Transport,
        tls: &config::Tls,
        metrics: &NetMetrics,
    ) -> std::io::Result<Self> {
        Ok(Self {
            tls: match transport.tls {
                true => Some(Tls::new(
                    tls,
                    transport.client_certificates,
                    Arc::clone(&metrics.tls),
                )?),
                false => None,
            },
            h2c: transport.h2c,
            proxy_protocol: transport.proxy_protocol[..].into(),
        })
    }

    /// Returns whether an address is that of a load balancer, which sends the connections of many
    /// clients.
    pub(crate) fn is_load_balancer(&self, peer: SocketAddr) -> bool {
        self.proxy_protocol.contains(peer.ip().to_canonical())
    }

    /// Reads everything before HTTP on a connection from `address`. The caller limits the time.
    ///
    /// # Errors
    /// [`BadStart`] if the connection cannot begin.
    pub(crate) async fn begin(
        &self,
        mut stream: TcpStream,
        mut address: SocketAddr,
    ) -> Result<Begun, BadStart> {
        let mut unread = Vec::new();
        let peer = address;
        if self.is_load_balancer(address) {
            let (rest, source) = proxy_protocol::take(&mut stream).await?;
            (unread, address) = (rest, source.unwrap_or(address));
        }
        let begun = |stream, http, tls: Option<Option<ClientCertificate>>| Begun {
            stream,
            http,
            address,
            is_tls: tls.is_some(),
            certificate: tls.flatten(),
        };
        if let Some(tls) = &self.tls {
            let is_plain = plain::is_spoken(&unread, &stream).await;
            let is_plain = is_plain.map_err(|_| BadStart::Gone)?;
            let stream = Rewound::with(unread.into(), stream);
            if is_plain {
                plain::reject(stream).await;
                return Err(BadStart::PlainHttp);
            }
            let (stream, certificate) = tls.negotiate(stream, Some(peer)).await?;
            let http = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Http::Two,
                _ => Http::One,
            };
            let stream = Rewound::new(Transport::Right(Box::new(stream)));
            return Ok(begun(stream, http, Some(certificate)));
        }
        let mut stream = Rewound::with(unread.into(), Transport::Left(stream));
        let http = match self.h2c {
            true => {
                let (http, read) = cleartext::begin(&mut stream).await?;
                stream.rewind(read.into());
                http
            }
            false => Http::One,
        };
        Ok(begun(stream, http, None))
    }
}

/// A connection on which HTTP begins.
pub(crate) struct Begun {
    pub(crate) stream: Stream,
    pub(crate) http: Http,
    /// The client address: that in the PROXY header, or of the socket.
    pub(crate) address: SocketAddr,
    pub(crate) is_tls: bool,
    /// The verified client certificate.
    pub(crate) certificate: Option<ClientCertificate>,
}
