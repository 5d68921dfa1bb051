//! Everything before HTTP on a connection: the PROXY protocol, TLS, and the detection of the HTTP
//! version.

mod ahead;
mod buffered;
mod cleartext;
mod dated;
pub(crate) mod proxy_protocol;
mod start;
mod subject;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use pingora::protocols::l4::stream::Stream as Plain;
use pingora::protocols::{ALPN, Ssl, Stream as PingoraStream};
use tokio::net::TcpStream;

use super::metrics::NetMetrics;
use super::peer_of_stream;
use super::stream::{Rewound, Stream, Transport};
use crate::config;
#[cfg(any(test, fuzzing))]
pub use ahead::fuzz as fuzz_header;
pub(crate) use ahead::{Ahead, NoHeader};
use buffered::Buffered;
use dated::Dated;
pub(crate) use dated::keep_date;
pub(crate) use start::{BadStart, Http};
use tls::Tls;
pub(crate) use tls::{ClientCertificate, is_still_good, scheme_of, subject_of};

/// How the connections of a listener begin.
pub(crate) struct Wire {
    tls: Option<Tls>,
    h2c: bool,
    proxy_protocol: Box<[IpNet]>,
}

impl Wire {
    /// Makes it from a configuration.
    ///
    /// # Errors
    /// Client certificates are requested, but no CA is configured.
    pub(crate) fn new(
        wire: &config::Wire,
        tls: &config::Tls,
        metrics: &NetMetrics,
    ) -> std::io::Result<Self> {
        Ok(Self {
            tls: match wire.tls {
                true => Some(Tls::new(
                    tls,
                    wire.client_certificates,
                    Arc::clone(&metrics.tls),
                )?),
                false => None,
            },
            h2c: wire.h2c,
            proxy_protocol: wire.proxy_protocol.as_slice().into(),
        })
    }

    /// Returns whether an address is that of a load balancer, which sends the connections of many
    /// clients.
    pub(crate) fn is_load_balancer(&self, peer: SocketAddr) -> bool {
        let address = peer.ip().to_canonical();
        self.proxy_protocol
            .iter()
            .any(|network| network.contains(&address))
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
            let stream = Rewound::with(unread.into(), stream);
            let (stream, certificate) = tls.negotiate(stream, Some(peer)).await?;
            let http = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Http::Two,
                _ => Http::One,
            };
            let stream = Rewound::new(Transport::Tls(Box::new(stream)));
            return Ok(begun(stream, http, Some(certificate)));
        }
        let mut stream = Rewound::with(unread.into(), Transport::Plain(stream));
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

    /// Reads everything before HTTP on one of Pingora's streams. The caller limits the time.
    ///
    /// # Errors
    /// [`BadStart`] if the connection cannot begin.
    pub(crate) async fn begin_pingora(
        &self,
        mut stream: Plain,
    ) -> Result<(PingoraStream, Http), BadStart> {
        let peer = peer_of_stream(&stream);
        if peer.is_some_and(|peer| self.is_load_balancer(peer)) {
            proxy_protocol::read(&mut stream).await?;
        }
        if let Some(tls) = &self.tls {
            let stream = tls.accept(Buffered::new(stream)).await.map_err(|error| {
                tls.failed(peer, &error);
                BadStart::Tls(error.to_string())
            })?;
            let http = match stream.selected_alpn_proto() {
                Some(ALPN::H2) => Http::Two,
                _ => Http::One,
            };
            return Ok((face(Box::new(stream), http), http));
        }
        let http = match self.h2c {
            true => cleartext::http_of(&mut stream).await?,
            false => Http::One,
        };
        Ok((face(Box::new(Buffered::new(stream)), http), http))
    }
}

/// A connection on which HTTP begins.
pub(crate) struct Begun {
    pub(crate) stream: Stream,
    pub(crate) http: Http,
    /// Where it comes from, as its PROXY header says, or the socket.
    pub(crate) address: SocketAddr,
    pub(crate) is_tls: bool,
    /// By which the client has proved itself.
    pub(crate) certificate: Option<ClientCertificate>,
}

/// Wraps the stream for a version of HTTP.
fn face(stream: PingoraStream, http: Http) -> PingoraStream {
    match http {
        Http::One => Box::new(Dated::new(stream)),
        Http::Two => stream,
    }
}
