//! Ports for programs that cannot say which one they got.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{Domain, SockAddr, Socket, Type};

/// A port of this machine that the kernel gives to nobody else while this lives, and that a program can
/// listen on all the same: the socket is bound and does not listen, and both sides allow reuse.
/// Whoever connects before that is refused.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    socket: Socket,
}

impl Port {
    /// Returns the socket once more.
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
