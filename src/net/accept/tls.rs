//! TLS with clients: a certificate by the name that is asked for, and perhaps one of the client's.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use http::HeaderValue;
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::http::ServerSession;
use pingora::protocols::tls::{TlsRef, TlsStream, server};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::buffered::Buffered;
use super::subject;
use crate::auth::UnixTime;
use crate::config::{self, ClientCertificates, TlsVersion};
use crate::net::tls_fault::{Seldom, fault_of};
use crate::telemetry::metrics;

/// The listener's side.
pub(super) struct Tls {
    acceptor: Acceptor,
    logged: Seldom,
}

impl Tls {
    pub(super) fn new(tls: &config::Tls, clients: ClientCertificates) -> io::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let versions: &[_] = match tls.min_version {
            TlsVersion::V1_2 => &[&TLS13, &TLS12],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?;
        let builder = match (clients, &tls.client_roots) {
            (ClientCertificates::Off, _) => builder.with_no_client_auth(),
            (_, None) => return Err(io::Error::other("nobody vouches for clients")),
            (_, Some(roots)) => {
                let roots = Arc::clone(&roots.roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match clients {
                    ClientCertificates::Optional => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(&tls.certificates)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if clients == ClientCertificates::Off {
            // A key of its own: who was let in by another configuration does not resume under this one.
            config.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
        } else {
            // A session that is resumed asks for no certificate again: one that has expired would go on
            // passing, for as long as the configuration stays.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self {
            acceptor: Acceptor::from_server_config(Arc::new(config)),
            logged: Seldom::default(),
        })
    }

    pub(super) async fn accept(&self, stream: Buffered) -> pingora::Result<TlsStream<Buffered>> {
        server::handshake_with_callback(&self.acceptor, stream, &ReadCertificate).await
    }
}

impl Tls {
    /// Notes that a client did not agree on TLS. What is wrong with its certificate is logged now and then;
    /// what else goes wrong is mostly noise.
    pub(super) fn failed(&self, peer: Option<SocketAddr>, error: &pingora::Error) {
        let Some((fault, cause)) = fault_of(error) else {
            return;
        };
        metrics().count_tls(fault);
        if !fault.is_of_a_certificate() {
            return;
        }
        if let Some(withheld) = self.logged.may_log(fault) {
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            tracing::warn!(
                peer,
                reason = fault.as_str(),
                cause,
                withheld,
                "client certificate rejected"
            );
        }
    }
}

/// Finds certificates by name.
struct ByName {
    first: Option<Arc<CertifiedKey>>,
    names: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    fn new(certificates: &[config::Certificate]) -> Self {
        let now = seconds(SystemTime::now());
        let mut names = HashMap::new();
        for certificate in certificates {
            if certificate.not_after < now {
                tracing::warn!(file = %certificate.file.display(), "a certificate has expired");
            }
            for name in &certificate.names {
                let key = names.entry(name.clone());
                key.or_insert_with(|| Arc::clone(&certificate.key));
            }
        }
        Self {
            first: certificates.first().map(|first| Arc::clone(&first.key)),
            names,
        }
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let by_name = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wildcard = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
            self.names.get(&name).or_else(wildcard)
        });
        by_name.or(self.first.as_ref()).cloned()
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names.keys()).finish()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

/// What is kept of the certificate by which a client proved itself, for as long as the connection lives.
struct ClientCertificate {
    /// None if our parser does not take what the one of the handshake took.
    subject: Option<HeaderValue>,
    /// The first end of those in its chain that were good at the handshake, in seconds since 1970.
    not_after: i64,
}

/// Keeps it.
struct ReadCertificate;

#[async_trait]
impl TlsAccept for ReadCertificate {
    async fn handshake_complete_callback(
        &self,
        tls: &TlsRef,
    ) -> Option<Arc<dyn Any + Send + Sync>> {
        let chain = tls.peer_cert_chain_der()?;
        let now = seconds(SystemTime::now());
        // Others are not part of what vouches for the client.
        let ends = chain
            .iter()
            .filter_map(|it| subject::not_after(it))
            .filter(|&end| end >= now);
        Some(Arc::new(ClientCertificate {
            subject: chain.first().and_then(|first| subject::of(first)),
            not_after: ends.min().unwrap_or(0),
        }))
    }
}

/// Says whether a client, if it has proved itself by a certificate, may still go by it.
pub(crate) fn is_still_good(session: &ServerSession, now: SystemTime) -> bool {
    certificate_of(session).is_none_or(|it| it.subject.is_some() && seconds(now) <= it.not_after)
}

fn certificate_of(session: &ServerSession) -> Option<&ClientCertificate> {
    let digest = session.digest()?.ssl_digest.as_ref()?;
    digest.extension.get::<ClientCertificate>()
}

fn seconds(time: SystemTime) -> i64 {
    i64::try_from(UnixTime::from(time).as_secs()).unwrap_or(i64::MAX)
}

/// Returns what a client speaks, for `X-Forwarded-Proto`.
pub(crate) fn scheme_of(session: &ServerSession) -> HeaderValue {
    let is_tls = session.digest().is_some_and(|it| it.ssl_digest.is_some());
    HeaderValue::from_static(if is_tls { "https" } else { "http" })
}

/// Returns the subject of the certificate by which a client proved itself.
pub(crate) fn subject_of(session: &ServerSession) -> Option<&HeaderValue> {
    certificate_of(session)?.subject.as_ref()
}
