//! Health checks of a peer: a connection, or a path.
//!
//! Pingora 0.9.1 has its own: the check for a connection reads the roots of the system and panics without any,
//! the HTTP check limits no whole response and has one `Host` for all peers, and both log debug output. These
//! can go when `pingora-load-balancing` has a deadline for the response and a `Host` per peer.

use std::fmt;
use std::io;
use std::time::Duration;

use http::HeaderValue;
use http::header::HOST;
use pingora::Error;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::l4::socket::SocketAddr;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::template::{NO_ROOTS, Template};
use crate::config;
use crate::net::tls_fault::fault_of;

/// The maximum number of interim responses that are skipped.
const MOST_INTERIM: usize = 8;

/// The health check of an upstream.
pub(crate) struct Check {
    /// The maximum wait for the connection, and for the response.
    timeout: Duration,
    /// The request to send; `None` if a connection is enough.
    probe: Option<Probe>,
}

struct Probe {
    template: Template,
    connector: Connector,
    request: RequestHeader,
    /// The Host header for all peers; `None` to use the configured name of each.
    host: Option<HeaderValue>,
}

impl Check {
    /// Makes the health check of an upstream; `None` if it has none.
    pub(crate) fn new(settings: &config::Upstream, template: &Template) -> Option<Self> {
        let health = settings.health.as_ref()?;
        let timeout = health.timeout;
        let path = health.path.as_deref();
        let probe = path.and_then(|path| {
            // The configuration has validated the path.
            let request = RequestHeader::build("GET", path.as_bytes(), None).ok()?;
            let mut options = ConnectorOptions::new(0);
            options.ca_file = Some(NO_ROOTS.to_owned());
            let server_name = settings.tls.as_ref().map(|tls| &tls.server_name);
            let server_name = server_name.and_then(|name| HeaderValue::from_str(name).ok());
            Some(Probe {
                template: template.with_timeout(timeout),
                connector: Connector::new(Some(options)),
                request,
                host: health.host.clone().or(server_name),
            })
        });
        Some(Self { timeout, probe })
    }

    /// Checks the peer at `address`, which is configured as `label`.
    ///
    /// # Errors
    /// [`CheckError`] if the peer is not healthy.
    pub(crate) async fn run(&self, address: &SocketAddr, label: &str) -> Result<(), CheckError> {
        let (outcome, within) = match &self.probe {
            None => {
                let outcome = timeout(self.timeout, connect(address)).await;
                (
                    outcome.map(|it| it.map_err(CheckError::Connect)),
                    self.timeout,
                )
            }
            Some(probe) => {
                // One timeout for the connection and one for the response.
                let within = self.timeout.saturating_mul(2);
                (timeout(within, probe.send(address, label)).await, within)
            }
        };
        outcome.unwrap_or(Err(CheckError::Silent(within)))
    }
}

async fn connect(address: &SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::Inet(address) => TcpStream::connect(address).await.map(drop),
        SocketAddr::Unix(address) => match address.as_pathname() {
            Some(path) => UnixStream::connect(path).await.map(drop),
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        },
    }
}

impl Probe {
    async fn send(&self, address: &SocketAddr, label: &str) -> Result<(), CheckError> {
        let peer = self.template.peer(address);
        let mut request = self.request.clone();
        let of_peer = || match address {
            SocketAddr::Inet(_) => HeaderValue::from_str(label).ok(),
            SocketAddr::Unix(_) => None,
        };
        let host = self.host.clone().or_else(of_peer);
        let host = host.unwrap_or_else(|| HeaderValue::from_static("localhost"));
        request.insert_header(HOST, host)?;
        let (mut session, _) = self.connector.get_http_session(&peer).await?;
        session.set_write_timeout(peer.options.write_timeout);
        session.set_read_timeout(peer.options.read_timeout);
        session.write_request_header(Box::new(request)).await?;
        session.finish_request_body().await?;
        for _ in 0..MOST_INTERIM {
            session.read_response_header().await?;
            let status = session.response_header().map(|header| header.status);
            match status {
                Some(status) if status.is_informational() => {}
                Some(http::StatusCode::OK) => {
                    // Read it to its end, so that the peer does not see a broken connection.
                    while session.read_response_body().await?.is_some() {}
                    return Ok(());
                }
                status => {
                    return Err(CheckError::Status(
                        status.map_or(0, |status| status.as_u16()),
                    ));
                }
            }
        }
        Err(CheckError::Status(100))
    }
}

/// Why a health check failed.
#[derive(Debug)]
pub(crate) enum CheckError {
    Connect(io::Error),
    Status(u16),
    Failed(Box<Error>),
    Silent(Duration),
}

impl From<Box<Error>> for CheckError {
    fn from(error: Box<Error>) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Status(status) => write!(f, "answered with {status}"),
            Self::Failed(error) => match fault_of(error) {
                Some((fault, cause)) => write!(f, "no TLS: {} ({cause})", fault.as_str()),
                None => f.write_str(error.etype().as_str()),
            },
            Self::Silent(within) => {
                write!(
                    f,
                    "no answer within {}",
                    humantime::format_duration(*within)
                )
            }
        }
    }
}
