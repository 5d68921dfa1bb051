//! The listening sockets: inherited if there are some, bound otherwise.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use listenfd::ListenFd;
use socket2::{Domain, Type};
use thiserror::Error;

/// The name of the connection to the process whose place this one takes.
pub const PREDECESSOR: &str = "predecessor";

/// Sockets that listen already; connections queue up from here on.
#[derive(Debug)]
pub struct Listeners {
    pub(super) service: TcpListener,
    pub(super) gateway: TcpListener,
    pub(super) grpc: Option<TcpListener>,
    predecessor: Option<UnixStream>,
}

/// Where the listeners are.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// REST, forward-auth and health.
    pub service: SocketAddr,
    /// The proxy.
    pub gateway: SocketAddr,
    /// Envoy's questions over gRPC, if there is such a listener.
    pub grpc: Option<SocketAddr>,
}

impl Listeners {
    /// Binds both addresses. Port 0 takes one from the kernel.
    ///
    /// # Errors
    /// An address that cannot be bound.
    pub fn bind(service: SocketAddr, gateway: SocketAddr) -> Result<Self, ListenError> {
        Ok(Self {
            service: bind("service.listen", service)?,
            gateway: bind("gateway.listen", gateway)?,
            grpc: None,
            predecessor: None,
        })
    }

    /// Takes the sockets that a service manager hands over (systemd's `LISTEN_FDS`), and binds what
    /// was not handed over.
    ///
    /// `LISTEN_FDNAMES` tells which is which by `service`, `gateway` and `grpc`; without such names the
    /// first is the service's, the second the gateway's, the third that of gRPC. An address of `grpc` is
    /// bound if there is one and none was handed over.
    ///
    /// # Errors
    /// An address that cannot be bound, or an inherited descriptor that is no TCP listener.
    pub fn inherit_or_bind(
        service: SocketAddr,
        gateway: SocketAddr,
        grpc: Option<SocketAddr>,
    ) -> Result<Self, ListenError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let is_named = names
            .iter()
            .any(|name| matches!(*name, "service" | "gateway" | "grpc" | PREDECESSOR));
        let mut inherited = ListenFd::from_env();
        let mut take = |name: &'static str, position: usize| {
            let index = if is_named {
                names.iter().position(|found| *found == name)
            } else {
                Some(position)
            };
            match index.filter(|index| *index < inherited.len()) {
                None => Ok(None),
                Some(index) => inherited
                    .take_tcp_listener(index)
                    .map_err(|error| ListenError::Inherit(name, error)),
            }
        };
        let (inherited_service, inherited_gateway) = (take("service", 0)?, take("gateway", 1)?);
        let inherited_grpc = take("grpc", 2)?;
        let predecessor = names.iter().position(|found| *found == PREDECESSOR);
        let predecessor = match predecessor.filter(|index| *index < inherited.len()) {
            None => None,
            Some(index) => inherited
                .take_custom(index, Domain::UNIX.into(), Type::STREAM.into(), PREDECESSOR)
                .map_err(|error| ListenError::Inherit(PREDECESSOR, error))?,
        };
        let or_bind = |inherited: Option<TcpListener>, key, address| match inherited {
            Some(listener) => Ok(listener),
            None => bind(key, address),
        };
        Ok(Self {
            service: or_bind(inherited_service, "service.listen", service)?,
            gateway: or_bind(inherited_gateway, "gateway.listen", gateway)?,
            grpc: match (inherited_grpc, grpc) {
                (None, None) => None,
                (Some(listener), _) => Some(listener),
                (None, Some(address)) => Some(bind("grpc.listen", address)?),
            },
            predecessor,
        })
    }

    /// Takes the connection to the process whose place this one takes, if there is one.
    pub fn take_predecessor(&mut self) -> Option<UnixStream> {
        self.predecessor.take()
    }

    /// Returns the sockets once more, with the names by which [`Self::inherit_or_bind`] knows them.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn share(&self) -> io::Result<Vec<(&'static str, OwnedFd)>> {
        let mut shared = vec![
            ("service", self.service.try_clone()?.into()),
            ("gateway", self.gateway.try_clone()?.into()),
        ];
        if let Some(grpc) = &self.grpc {
            shared.push(("grpc", grpc.try_clone()?.into()));
        }
        Ok(shared)
    }

    /// Returns where they listen.
    ///
    /// # Errors
    /// A socket that does not say.
    pub fn addresses(&self) -> Result<Addresses, ListenError> {
        let address = |key, listener: &TcpListener| {
            listener
                .local_addr()
                .map_err(|error| ListenError::Inherit(key, error))
        };
        Ok(Addresses {
            service: address("service", &self.service)?,
            gateway: address("gateway", &self.gateway)?,
            grpc: match &self.grpc {
                Some(listener) => Some(address("grpc", listener)?),
                None => None,
            },
        })
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    // SO_REUSEADDR is set by the standard library: a restart does not wait for old connections.
    TcpListener::bind(address).map_err(|source| ListenError::Bind {
        key,
        address,
        source,
    })
}

/// Why there is no listener.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error("{key} = \"{address}\": cannot listen there")]
    Bind {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What was inherited cannot be used.
    #[error("the inherited socket \"{0}\" cannot be used")]
    Inherit(&'static str, #[source] io::Error),
}
