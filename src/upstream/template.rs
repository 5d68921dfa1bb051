//! The settings for connections to the peers of an upstream.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::ALPN;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::{HttpPeer, Scheme};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};

use crate::config::{self, PeerHttp};
use crate::tls::roots_of_the_system;

/// A file without certificates.
pub(crate) const NO_ROOTS: &str = "/dev/null";

/// The maximum number of concurrent requests on an HTTP/2 connection.
const STREAMS: u32 = 100;

/// The number of bytes that a peer may send per request before the client reads them.
const STREAM_WINDOW: u32 = 128 * 1024;

/// The same for all requests on a connection. It is the sum of theirs, so that clients that do not
/// read their responses cannot stop the responses of others (RFC 9113 §5.2.2).
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;

/// The maximum size in bytes of a body that may share a connection. As many of these as fit on a
/// connection fit into its smallest window (RFC 9113 §6.9.2), so a peer that reads none of them
/// does not block the others.
pub(crate) const SHORT_BODY: u64 = 512;

/// Requests an HTTP/2 connection on which no other request sends a body, because a peer that does
/// not read a body accepts no more data on its connection. The next request with a long body reuses
/// the connection.
pub(crate) fn set_apart(peer: &mut HttpPeer) {
    if peer.options.alpn != ALPN::H1 {
        peer.options.max_h2_streams = 1;
        peer.group_key = peer.group_key.wrapping_add(1);
    }
}

/// A peer without its address.
pub(crate) struct Template {
    peer: HttpPeer,
}

impl Template {
    /// Makes the settings for the peers of an upstream.
    ///
    /// # Errors
    /// The root certificates of the system cannot be read.
    pub(crate) fn new(settings: &config::Upstream) -> io::Result<Self> {
        let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let mut peer = HttpPeer::new(nowhere, false, String::new());
        let options = &mut peer.options;
        options.connection_timeout = Some(settings.connect_timeout);
        options.total_connection_timeout = Some(settings.connect_timeout);
        options.read_timeout = Some(settings.read_timeout);
        options.write_timeout = Some(settings.write_timeout);
        options.idle_timeout = Some(settings.idle_timeout);
        match settings.http {
            PeerHttp::One => options.set_http_version(1, 1),
            PeerHttp::Two => options.set_http_version(2, 2),
            PeerHttp::Auto => options.set_http_version(2, 1),
        }
        if settings.http != PeerHttp::One {
            options.max_h2_streams = STREAMS as usize;
            options.h2_stream_window_size = Some(STREAM_WINDOW);
            options.h2_connection_window_size = Some(CONNECTION_WINDOW);
        }
        if let Some(tls) = &settings.tls {
            trust(&mut peer, settings, tls)?;
        }
        Ok(Self { peer })
    }

    /// Returns these settings with other connect and read timeouts.
    pub(crate) fn with_timeout(&self, timeout: Duration) -> Self {
        let mut peer = self.peer.clone();
        peer.options.connection_timeout = Some(timeout);
        peer.options.total_connection_timeout = Some(timeout);
        peer.options.read_timeout = Some(timeout);
        Self { peer }
    }

    /// Returns whether root certificates and client certificate are the same.
    pub(crate) fn trusts_as(&self, other: &Self) -> bool {
        self.peer.group_key == other.peer.group_key
    }

    /// Returns the peer at an address.
    pub(crate) fn peer(&self, address: &SocketAddr) -> HttpPeer {
        let mut peer = self.peer.clone();
        peer._address = address.clone();
        peer
    }
}

/// Sets up TLS: the roots that verify the peer, and the client certificate.
fn trust(
    peer: &mut HttpPeer,
    settings: &config::Upstream,
    tls: &config::PeerTls,
) -> io::Result<()> {
    let roots: Vec<Vec<u8>> = match &tls.roots {
        Some(roots) => roots.chain.iter().map(|root| root.to_vec()).collect(),
        None => roots_of_the_system()?,
    };
    // Pingora 0.9.1: the roots are not part of the key of a pooled connection (`reuse_hash` of
    // `HttpPeer`), so a connection that was verified by another CA could be reused. This can go
    // when the hash covers `options.ca`.
    let mut hasher = DefaultHasher::new();
    (&settings.name, format!("{tls:?}"), &roots).hash(&mut hasher);
    peer.group_key = hasher.finish();
    let roots = roots
        .into_iter()
        .map(|root| WrappedX509::new(root, parse_x509));
    peer.scheme = Scheme::HTTPS;
    // Never empty, because Pingora 0.9.1 then verifies nothing (`connectors/tls/rustls/mod.rs`).
    // The configuration requires `server_name`. Pingora also builds its TLS settings for each new
    // connection; the pool makes up for it.
    peer.sni.clone_from(&tls.server_name);
    peer.options.ca = Some(roots.collect::<Vec<_>>().into());
    if let Some(client) = &tls.client
        && let Some(key) = &client.key
    {
        let chain = client.chain.iter().map(|part| part.to_vec()).collect();
        let key = key.secret_der().to_vec();
        peer.client_cert_key = Some(Arc::new(CertKey::new(chain, key)));
    }
    Ok(())
}
