//! TLS with clients: selects the certificate by SNI, and verifies client certificates.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::start::BadStart;
use super::subject;
use crate::auth::UnixTime;
use crate::config::{self, ClientCertificates, TlsVersion};
use crate::net::metrics::TlsFaults;
use crate::net::stream::Rewound;
use crate::net::tls_fault::{LogThrottle, TlsFault, fault_in};

/// How long to wait for the client to close after an alert, and the maximum number of reads.
const PARTING: Duration = Duration::from_secs(1);
const PARTING_READS: usize = 64;

/// TLS settings of a listener.
pub(super) struct Tls {
    config: Arc<ServerConfig>,
    logged: LogThrottle,
    faults: Arc<TlsFaults>,
}

impl Tls {
    pub(super) fn new(
        tls: &config::Tls,
        clients: ClientCertificates,
        faults: Arc<TlsFaults>,
    ) -> io::Result<Self> {
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
            (_, None) => return Err(io::Error::other("no CA for client certificates")),
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
            // A new ticket key, so that a session of another configuration is not resumed.
            config.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
        } else {
            // A resumed session is not asked for a certificate, so a client whose certificate has
            // expired could continue until the next reload.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        let config = Arc::new(config);
        Ok(Self {
            config,
            logged: LogThrottle::default(),
            faults,
        })
    }
}

impl Tls {
    /// Performs the handshake. On failure the client gets an alert with the cause.
    pub(super) async fn negotiate(
        &self,
        stream: Rewound<TcpStream>,
        peer: Option<SocketAddr>,
    ) -> Result<
        (
            tokio_rustls::server::TlsStream<Rewound<TcpStream>>,
            Option<ClientCertificate>,
        ),
        BadStart,
    > {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        match acceptor.accept(stream).into_fallible().await {
            Ok(stream) => {
                let chain = stream.get_ref().1.peer_certificates();
                let certificate = chain.map(ClientCertificate::of);
                Ok((stream, certificate))
            }
            Err((error, stream)) => {
                let text = error.to_string();
                let (fault, cause) = fault_in(&text);
                self.rejected(peer, fault, &cause);
                part(stream).await;
                Err(BadStart::Tls(text))
            }
        }
    }

    fn rejected(&self, peer: Option<SocketAddr>, fault: TlsFault, cause: &str) {
        self.faults.count(fault);
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

/// Finds certificates by host name.
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

/// The client certificate of a connection.
pub(crate) struct ClientCertificate {
    /// `None` if our parser rejects a certificate that the handshake accepted.
    subject: Option<HeaderValue>,
    /// The earliest end of validity in its chain, among those valid at the handshake, in seconds
    /// since 1970.
    not_after: i64,
}

impl ClientCertificate {
    /// Reads a verified certificate chain.
    fn of(chain: &[impl AsRef<[u8]>]) -> Self {
        let now = seconds(SystemTime::now());
        // Expired certificates in the chain were not used to verify the client.
        let ends = chain
            .iter()
            .filter_map(|it| subject::not_after(it.as_ref()))
            .filter(|&end| end >= now);
        let first = chain.first();
        Self {
            subject: first.and_then(|first| subject::of(first.as_ref())),
            not_after: ends.min().unwrap_or(0),
        }
    }

    /// Returns the subject.
    pub(crate) fn subject(&self) -> Option<&HeaderValue> {
        self.subject.as_ref()
    }

    /// Returns whether the certificate is still valid.
    pub(crate) fn is_still_good(&self, now: SystemTime) -> bool {
        self.subject.is_some() && seconds(now) <= self.not_after
    }
}

/// Closes a connection whose client was sent why. The client may still be sending: closing at once
/// would reset the connection and lose the alert.
pub(super) async fn part(mut stream: Rewound<TcpStream>) {
    let ended = async {
        stream.shutdown().await?;
        let mut rest = [0; 512];
        for _ in 0..PARTING_READS {
            if stream.read(&mut rest).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    // Ends at the timeout, or when the client closes.
    let _ = timeout(PARTING, ended).await;
}

fn seconds(time: SystemTime) -> i64 {
    i64::try_from(UnixTime::from(time).as_secs()).unwrap_or(i64::MAX)
}
