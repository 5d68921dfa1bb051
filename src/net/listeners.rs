//! The listening sockets, inherited or bound.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use listenfd::ListenFd;
use socket2::{Domain, SockRef, Type};
use thiserror::Error;

use crate::config::Config;

/// The name of the socket that connects to the replaced process.
pub const PREDECESSOR: &str = "predecessor";

/// The names of the sockets, in the order in which unnamed sockets are passed.
const NAMES: [&str; 5] = ["service", "gateway", "grpc", "metrics", "admin"];

/// How many connections wait to be accepted, where the system allows it (`net.core.somaxconn`). The standard
/// library asks for 128, and the clients of a front proxy connect all at once.
const BACKLOG: i32 = 4096;

/// Listening sockets. The kernel queues connections from here on.
#[derive(Debug)]
pub struct Listeners {
    pub(crate) service: TcpListener,
    pub(crate) gateway: Option<TcpListener>,
    pub(crate) grpc: Option<TcpListener>,
    pub(crate) metrics: Option<TcpListener>,
    pub(crate) admin: Option<TcpListener>,
    predecessor: Option<UnixStream>,
    is_inherited: bool,
}

/// The addresses of the listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// REST, forward-auth and health.
    pub service: SocketAddr,
    /// The proxy, if it is on.
    pub gateway: Option<SocketAddr>,
    /// Envoy's gRPC requests, if the listener is on.
    pub grpc: Option<SocketAddr>,
    /// Metrics and health, if the listener is on.
    pub metrics: Option<SocketAddr>,
    /// The admin page, if the listener is on.
    pub admin: Option<SocketAddr>,
}

impl Addresses {
    /// Returns the addresses in a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            service: config.service.listen,
            gateway: config.gateway.listen,
            grpc: config.grpc,
            metrics: config.metrics,
            admin: config.admin.listen,
        }
    }

    /// Returns the addresses with the names of their listeners.
    pub fn named(self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let Self {
            service,
            gateway,
            grpc,
            metrics,
            admin,
        } = self;
        let all = [Some(service), gateway, grpc, metrics, admin];
        NAMES
            .into_iter()
            .zip(all)
            .filter_map(|(name, address)| Some((name, address?)))
    }
}

impl Listeners {
    /// Binds all addresses. For port 0, the kernel chooses one.
    ///
    /// # Errors
    /// [`ListenError::Bind`] for an address that cannot be bound.
    pub fn bind(addresses: Addresses) -> Result<Self, ListenError> {
        Self::bind_rest(addresses, [const { None }; 5], None)
    }

    /// Takes the sockets that a service manager passes (systemd's `LISTEN_FDS`), and binds the
    /// other addresses.
    ///
    /// `LISTEN_FDNAMES` names them `service`, `gateway`, `grpc`, `metrics` and `admin`; without
    /// these names, they are in this order. A passed socket is served whatever its address, and closed if the
    /// listener is off.
    ///
    /// # Errors
    /// [`ListenError`] for an address that cannot be bound, or an inherited descriptor that is not
    /// a TCP listener.
    pub fn inherit_or_bind(addresses: Addresses) -> Result<Self, ListenError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let is_named = names
            .iter()
            .any(|name| NAMES.contains(name) || *name == PREDECESSOR);
        let mut inherited = ListenFd::from_env();
        let mut take = |position: usize, name: &'static str| {
            let index = if is_named {
                names.iter().position(|found| *found == name)
            } else {
                Some(position)
            };
            match index.filter(|index| *index < inherited.len()) {
                None => Ok(None),
                Some(index) => inherited
                    .take_tcp_listener(index)
                    .and_then(|socket| socket.map(listening).transpose())
                    .map_err(|error| ListenError::Inherit(name, error)),
            }
        };
        let [service, gateway, grpc, metrics, admin] = NAMES;
        let mut sockets = [
            take(0, service)?,
            take(1, gateway)?,
            take(2, grpc)?,
            take(3, metrics)?,
            take(4, admin)?,
        ];
        let predecessor = names.iter().position(|found| *found == PREDECESSOR);
        let predecessor = match predecessor.filter(|index| *index < inherited.len()) {
            None => None,
            Some(index) => inherited
                .take_custom(index, Domain::UNIX.into(), Type::STREAM.into(), PREDECESSOR)
                .map_err(|error| ListenError::Inherit(PREDECESSOR, error))?,
        };
        let [_, gateway, _, metrics, admin] = &mut sockets;
        let can_be_off = [
            ("gateway", gateway, addresses.gateway),
            ("metrics", metrics, addresses.metrics),
            ("admin", admin, addresses.admin),
        ];
        for (listener, socket, address) in can_be_off {
            if address.is_none() && socket.take().is_some() {
                close_unwanted(listener, predecessor.is_some());
            }
        }
        let is_inherited = sockets.iter().any(Option::is_some);
        let listeners = Self::bind_rest(addresses, sockets, predecessor)?;
        Ok(Self {
            is_inherited,
            ..listeners
        })
    }

    /// Binds the addresses that have no inherited socket.
    fn bind_rest(
        addresses: Addresses,
        [service, gateway, grpc, metrics, admin]: [Option<TcpListener>; 5],
        predecessor: Option<UnixStream>,
    ) -> Result<Self, ListenError> {
        let or_bind = |inherited: Option<TcpListener>, key, address| match inherited {
            Some(listener) => Ok(listener),
            None => bind(key, address),
        };
        let optional =
            |inherited: Option<TcpListener>, key, address: Option<SocketAddr>| match inherited {
                Some(listener) => Ok(Some(listener)),
                None => address.map(|address| bind(key, address)).transpose(),
            };
        Ok(Self {
            service: or_bind(service, "service.listen", addresses.service)?,
            gateway: optional(gateway, "gateway.listen", addresses.gateway)?,
            grpc: optional(grpc, "grpc.listen", addresses.grpc)?,
            metrics: optional(metrics, "metrics.listen", addresses.metrics)?,
            admin: optional(admin, "admin.listen", addresses.admin)?,
            predecessor,
            is_inherited: false,
        })
    }

    /// Returns whether sockets were inherited from another process, which may still have them open.
    pub fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    /// Takes the connection to the replaced process, if there is one.
    pub fn take_predecessor(&mut self) -> Option<UnixStream> {
        self.predecessor.take()
    }

    /// Duplicates the sockets, with the names that [`Self::inherit_or_bind`] expects.
    ///
    /// # Errors
    /// No file descriptor is available.
    pub fn share(&self) -> io::Result<Vec<(&'static str, OwnedFd)>> {
        self.all()
            .map(|(name, listener)| Ok((name, listener.try_clone()?.into())))
            .collect()
    }

    /// Returns the addresses of the sockets.
    ///
    /// # Errors
    /// The address of a socket cannot be determined.
    pub fn addresses(&self) -> Result<Addresses, ListenError> {
        let address = |name, listener: &TcpListener| {
            listener
                .local_addr()
                .map_err(|error| ListenError::Inherit(name, error))
        };
        let optional = |name, listener: &Option<TcpListener>| {
            let listener = listener.as_ref();
            listener.map(|listener| address(name, listener)).transpose()
        };
        Ok(Addresses {
            service: address("service", &self.service)?,
            gateway: optional("gateway", &self.gateway)?,
            grpc: optional("grpc", &self.grpc)?,
            metrics: optional("metrics", &self.metrics)?,
            admin: optional("admin", &self.admin)?,
        })
    }

    /// Returns the sockets with their names.
    fn all(&self) -> impl Iterator<Item = (&'static str, &TcpListener)> {
        let all = [
            Some(&self.service),
            self.gateway.as_ref(),
            self.grpc.as_ref(),
            self.metrics.as_ref(),
            self.admin.as_ref(),
        ];
        NAMES
            .into_iter()
            .zip(all)
            .filter_map(|(name, listener)| Some((name, listener?)))
    }
}

/// Logs that an inherited socket is not served, because its listener is off.
fn close_unwanted(listener: &str, is_of_predecessor: bool) {
    if is_of_predecessor {
        tracing::info!(listener, "closed: {listener}.listen is \"off\" now");
    } else {
        tracing::warn!(
            listener,
            "the socket that is handed over is not served, since {listener}.listen is \"off\"; connections to it \
             wait for nobody until its unit is stopped"
        );
    }
}

/// Rejects a socket that does not listen, such as that of a connection.
fn listening(socket: TcpListener) -> io::Result<TcpListener> {
    match SockRef::from(&socket).is_listener()? {
        true => Ok(socket),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a listening socket",
        )),
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    // The standard library sets SO_REUSEADDR, so that a restart need not wait for old connections.
    let bound = TcpListener::bind(address).and_then(|listener| {
        SockRef::from(&listener).listen(BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(|source| ListenError::Bind {
        key,
        address,
        source,
    })
}

/// Why a listener cannot be opened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("{key} = \"{address}\": cannot listen there")]
    Bind {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// An inherited socket is not usable.
    #[error("the inherited socket \"{0}\" cannot be used")]
    Inherit(&'static str, #[source] io::Error),
}
