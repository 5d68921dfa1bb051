//! Limits for gRPC connections: silent connections, and auth requests that do not end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tower::{Layer, Service};

use crate::net::admission::Counted;
use crate::net::connection::Connections;
use crate::net::delegate::delegate_write;
use crate::net::incoming::{FromFrontProxy, adopt};
use crate::net::loops::Place;

/// The maximum number of bytes of all incomplete auth requests together.
const HELD: usize = 32 << 20;

/// The size of the connection preface with an empty SETTINGS frame, in bytes (RFC 9113 §3.4).
const BEGINNING: usize = 24 + 9;

/// A connection that is counted until it is dropped.
pub(super) struct Connection {
    stream: TcpStream,
    /// The number of preface bytes still to come.
    missing: usize,
    /// The deadline of the preface; `None` once it is complete. Later, pings detect dead
    /// connections.
    silence: Option<Pin<Box<Sleep>>>,
    _counted: (Counted, Place),
}

impl Connection {
    /// Begins to serve a connection on the loop that this is called on.
    ///
    /// # Errors
    /// The client has closed it, or the system has no resources left.
    pub(super) fn begin(connection: FromFrontProxy, patience: Duration) -> io::Result<Self> {
        let FromFrontProxy {
            stream,
            counted,
            place,
        } = connection;
        Ok(Self {
            stream: adopt(stream, &place)?,
            missing: BEGINNING,
            silence: Some(Box::pin(sleep(patience))),
            _counted: (counted, place),
        })
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            let came = buffer.filled().len().saturating_sub(before);
            self.missing = self.missing.saturating_sub(came);
            if self.missing == 0 {
                self.silence = None;
            }
            return Poll::Ready(read);
        }
        let silence = self.silence.as_mut();
        if silence.is_some_and(|silence| silence.as_mut().poll(context).is_ready()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    delegate_write!(stream);
}

/// Limits the auth requests of all connections.
#[derive(Clone)]
pub(super) struct Bounds {
    connections: Arc<Connections>,
    held: Arc<AtomicUsize>,
}

impl Bounds {
    pub(super) fn new(connections: Arc<Connections>) -> Self {
        Self {
            connections,
            held: Arc::default(),
        }
    }
}

impl<S> Layer<S> for Bounds {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded {
            inner,
            bounds: self.clone(),
        }
    }
}

/// A service with limited auth requests.
#[derive(Clone)]
pub(super) struct Bounded<S> {
    inner: S,
    bounds: Bounds,
}

impl<S: Service<Request<tonic::body::Body>>> Service<Request<tonic::body::Body>> for Bounded<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> S::Future {
        let Bounds { connections, held } = &self.bounds;
        let limit = connections.settings().timeouts.body;
        let request = request.map(|body| {
            tonic::body::Body::new(BoundedBody {
                body,
                late: Box::pin(sleep(limit)),
                all: Arc::clone(held),
                held: 0,
            })
        });
        self.inner.call(request)
    }
}

/// The body of an auth request. Its bytes count until it is dropped.
struct BoundedBody {
    body: tonic::body::Body,
    late: Pin<Box<Sleep>>,
    /// The bytes of all incomplete auth requests.
    all: Arc<AtomicUsize>,
    held: usize,
}

impl Body for BoundedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.late.as_mut().poll(context).is_ready() {
            tracing::warn!(
                reason = "body_timeout",
                "a gRPC auth request came too slowly"
            );
            let status = Status::deadline_exceeded("the request came too slowly");
            return Poll::Ready(Some(Err(status)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let came = frame.data_ref().map_or(0, Bytes::len);
            self.held += came;
            if self.all.fetch_add(came, Ordering::Relaxed) + came > HELD {
                tracing::warn!("gRPC auth requests exceed their memory limit");
                let status = Status::resource_exhausted("too many requests");
                return Poll::Ready(Some(Err(status)));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for BoundedBody {
    fn drop(&mut self) {
        self.all.fetch_sub(self.held, Ordering::Relaxed);
    }
}
