//! TLS with clients: a certificate by the name that is asked for, and perhaps one of the client's.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::io;
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
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::buffered::Buffered;
use super::subject;
use crate::auth::UnixTime;
use crate::config::{self, ClientCertificates, TlsVersion};

/// The listener's side.
pub(super) struct Tls {
    acceptor: Acceptor,
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
        // A key of its own: who was let in by another configuration does not resume under this one.
        config.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
        Ok(Self {
            acceptor: Acceptor::from_server_config(Arc::new(config)),
        })
    }

    pub(super) async fn accept(&self, stream: Buffered) -> pingora::Result<TlsStream<Buffered>> {
        server::handshake_with_callback(&self.acceptor, stream, &ReadSubject).await
    }
}

/// Finds certificates by name.
struct ByName {
    first: Option<Arc<CertifiedKey>>,
    names: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    fn new(certificates: &[config::Certificate]) -> Self {
        let now = UnixTime::from(SystemTime::now()).as_secs();
        let mut names = HashMap::new();
        for certificate in certificates {
            if u64::try_from(certificate.not_after).is_ok_and(|end| end < now) {
                tracing::warn!(file = %certificate.file.display(), "this certificate has expired");
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

/// The subject of a client's certificate, which somebody vouches for.
struct Subject(HeaderValue);

/// Keeps the subject for as long as the connection lives.
struct ReadSubject;

#[async_trait]
impl TlsAccept for ReadSubject {
    async fn handshake_complete_callback(
        &self,
        tls: &TlsRef,
    ) -> Option<Arc<dyn Any + Send + Sync>> {
        let subject = subject::of(tls.peer_certificate_der()?)?;
        Some(Arc::new(Subject(subject)))
    }
}

/// Returns what a client speaks, for `X-Forwarded-Proto`.
pub(crate) fn scheme_of(session: &ServerSession) -> HeaderValue {
    let is_tls = session.digest().is_some_and(|it| it.ssl_digest.is_some());
    HeaderValue::from_static(if is_tls { "https" } else { "http" })
}

/// Returns the subject of the certificate by which a client proved itself.
pub(crate) fn subject_of(session: &ServerSession) -> Option<&HeaderValue> {
    let digest = session.digest()?.ssl_digest.as_ref()?;
    Some(&digest.extension.get::<Subject>()?.0)
}
