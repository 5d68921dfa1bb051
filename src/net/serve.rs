//! Serves HTTP on the connections of a listener, with hyper.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use pingora::server::ShutdownWatch;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::accept::{Acceptor, BadStart, Begun};
use super::client::Client;
use super::http::{self, App, Peer};
use super::process::Process;

/// Serves HTTP on the connections of a listener.
pub(crate) trait Serve: Send + Sync + 'static {
    /// A connection on which HTTP begins.
    type Begun: Send;

    /// Reads everything before HTTP on a connection from `peer`.
    ///
    /// # Errors
    /// [`BadStart`].
    fn begin(
        acceptor: &Acceptor,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Self::Begun, BadStart>> + Send;

    /// Returns the client address of a connection: that in its PROXY header, or of the socket.
    fn address(begun: &Self::Begun) -> Option<SocketAddr>;

    /// Serves the requests of a connection. By the deadline its client must have begun to speak
    /// HTTP.
    fn serve(
        self: Arc<Self>,
        begun: Self::Begun,
        client: Client,
        process: Arc<Process>,
        end: (ShutdownWatch, Instant),
    ) -> impl Future<Output = ()> + Send;

    /// Called once when the listener is closed.
    fn clean_up(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// hyper, with the handler `App`.
pub(crate) struct Hyper<A>(pub(crate) Arc<A>);

impl<A: App> Serve for Hyper<A> {
    type Begun = Begun;

    async fn begin(
        acceptor: &Acceptor,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<Begun, BadStart> {
        acceptor.begin(stream, peer).await
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
        let peer = Peer::new(Some(begun.address), begun.is_tls, begun.certificate);
        let app = Arc::clone(&self.0);
        http::serve(
            app,
            (begun.stream, begun.http),
            (client, peer, process),
            end,
        )
        .await;
    }
}
