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
use pingora::protocols::{ALPN, Ssl, Stream};

use super::metrics::NetMetrics;
use super::peer_of_stream;
use crate::config;
#[cfg(any(test, fuzzing))]
pub use ahead::fuzz as fuzz_header;
pub(crate) use ahead::{Ahead, NoHeader};
use buffered::Buffered;
use dated::Dated;
pub(crate) use dated::keep_date;
pub(crate) use start::{BadStart, Http};
use tls::Tls;
pub(crate) use tls::{is_still_good, scheme_of, subject_of};

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

    /// Reads everything before HTTP. The caller limits the time.
    ///
    /// # Errors
    /// [`BadStart`] if the connection cannot begin.
    pub(crate) async fn begin(&self, mut stream: Plain) -> Result<(Stream, Http), BadStart> {
        let peer = peer_of_stream(&stream);
        if peer.is_some_and(|peer| self.is_load_balancer(peer)) {
            proxy_protocol::read(&mut stream).await?;
        }
        if let Some(tls) = &self.tls {
            let stream = tls.accept(Buffered::new(stream)).await.map_err(|error| {
                tls.failed(peer, &error);
                BadStart::Tls(error)
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

/// Wraps the stream for a version of HTTP.
fn face(stream: Stream, http: Http) -> Stream {
    match http {
        Http::One => Box::new(Dated::new(stream)),
        Http::Two => stream,
    }
}
