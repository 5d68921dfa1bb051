//! What speaks HTTP on the connections of a listener: hyper, or Pingora's own sessions.

use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use pingora::apps::HttpServerApp;
use pingora::protocols::l4::stream::Stream as PlainStream;
use pingora::protocols::{GetSocketDigest, SocketDigest, Stream as PingoraStream};
use pingora::server::ShutdownWatch;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::accept::{BadStart, Begun, Http, Wire};
use super::client::Client;
use super::face::{self, App, Peer};
use super::process::Process;
use super::{http1, http2, peer_of_stream};

/// What speaks HTTP on the connections of a listener.
pub(crate) trait Speaker: Send + Sync + 'static {
    /// A connection on which HTTP begins.
    type Begun: Send;

    /// Reads what comes before HTTP on a connection from `peer`.
    ///
    /// # Errors
    /// [`BadStart`].
    fn begin(
        wire: &Wire,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Self::Begun, BadStart>> + Send;

    /// Returns where a connection comes from, as its PROXY header says, or the socket.
    fn address(begun: &Self::Begun) -> Option<SocketAddr>;

    /// Serves the requests of a connection. Its client must have begun to speak HTTP by the deadline.
    fn serve(
        self: Arc<Self>,
        begun: Self::Begun,
        client: Client,
        process: Arc<Process>,
        end: (ShutdownWatch, Instant),
    ) -> impl Future<Output = ()> + Send;

    /// Does what is to be done once when the listener is closed.
    fn clean_up(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// hyper, in front of an [`App`].
pub(crate) struct Hyper<A>(pub(crate) Arc<A>);

impl<A: App> Speaker for Hyper<A> {
    type Begun = Begun;

    async fn begin(wire: &Wire, stream: TcpStream, peer: SocketAddr) -> Result<Begun, BadStart> {
        wire.begin(stream, peer).await
    }

    fn address(begun: &Begun) -> Option<SocketAddr> {
        Some(begun.address)
    }

    async fn serve(
        self: Arc<Self>,
        begun: Begun,
        client: Client,
        process: Arc<Process>,
        end: (ShutdownWatch, Instant),
    ) {
        let peer = Peer {
            address: Some(begun.address),
            is_tls: begun.is_tls,
            certificate: begun.certificate,
        };
        let app = Arc::clone(&self.0);
        face::serve(
            app,
            (begun.stream, begun.http),
            (client, peer, process),
            end,
        )
        .await;
    }
}

/// Wraps a connection for Pingora.
fn pingora_stream(stream: TcpStream, peer: SocketAddr) -> PlainStream {
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    // A new digest has none yet.
    let _ = digest.peer_addr.set(Some(peer.into()));
    let mut stream = PlainStream::from(stream);
    stream.set_socket_digest(digest);
    stream
}

/// Pingora's own sessions.
pub(crate) struct Pingora<P>(pub(crate) Arc<P>);

impl<P: HttpServerApp + Send + Sync + 'static> Speaker for Pingora<P> {
    type Begun = (PingoraStream, Http);

    async fn begin(
        wire: &Wire,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<Self::Begun, BadStart> {
        wire.begin_pingora(pingora_stream(stream, peer)).await
    }

    fn address((stream, _): &Self::Begun) -> Option<SocketAddr> {
        peer_of_stream(&**stream)
    }

    async fn serve(
        self: Arc<Self>,
        (stream, http): Self::Begun,
        client: Client,
        _: Arc<Process>,
        (shutdown, deadline): (ShutdownWatch, Instant),
    ) {
        match http {
            Http::One => http1::serve(&self.0, stream, &shutdown, deadline, &client).await,
            Http::Two => http2::serve(&self.0, stream, shutdown, deadline, &client).await,
        }
    }

    async fn clean_up(&self) {
        self.0.http_cleanup().await;
    }
}
