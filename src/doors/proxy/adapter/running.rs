//! The future of a request in Pingora's proxy. The task of the connection polls it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::runtime::Handle;

use super::parts::Stream;
use crate::net::http::Abort;

/// The future of a request in Pingora's proxy. If it is dropped early because the client has
/// disconnected, it continues as a task, so that the request is logged.
///
/// It is not a task from the start: if two tasks of a request run on two threads, Pingora 0.9.1
/// cannot reuse pooled connections ("failed to acquire reusable stream").
pub(super) struct Running(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Running {
    pub(super) fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }

    /// Returns a future that has ended.
    pub(super) const fn over() -> Self {
        Self(None)
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(future) = &mut self.0
            && future.as_mut().poll(context).is_ready()
        {
            self.0 = None;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

/// The body of a response. Reading it also polls the future in Pingora's proxy, which sends it.
pub(super) struct Driven {
    pub(super) body: Stream,
    pub(super) running: Running,
}

impl Body for Driven {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        self.running.poll(context);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
