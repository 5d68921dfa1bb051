//! Ports for programs that cannot report which port they use.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{Domain, SockAddr, Socket, Type};

/// A port that the kernel assigns to nobody else while this value lives, but on which a program can
/// listen: the socket is bound but does not listen, and both sides set SO_REUSEADDR. Until the
/// program listens, connections are refused.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    socket: Socket,
}

impl Port {
    /// Returns a duplicate of the socket.
    pub(crate) fn share(&self) -> OwnedFd {
        self.socket.try_clone().unwrap().into()
    }

    pub(crate) fn reserve() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&SockAddr::from(any)).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { address, socket }
    }
}
