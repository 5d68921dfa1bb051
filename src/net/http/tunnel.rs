//! Handlers of connections that have switched protocols with a 101.

use std::future::Future;
use std::pin::Pin;

use crate::net::admission::Entered;
use crate::net::stream::Stream;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The handler of a connection after its 101.
pub(crate) struct Tunnel {
    begin: Box<dyn FnOnce(Stream) -> Running + Send>,
    /// Counts the request as in progress until the connection ends.
    entered: Option<Entered>,
}

impl Tunnel {
    /// Makes one that runs the future returned by `begin` for the stream, which starts with the
    /// bytes received after the request.
    pub(crate) fn new<F, R>(begin: F) -> Self
    where
        F: FnOnce(Stream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self {
            begin: Box::new(move |stream| Box::pin(begin(stream))),
            entered: None,
        }
    }

    pub(super) fn counting(mut self, entered: Option<Entered>) -> Self {
        self.entered = entered;
        self
    }

    pub(super) async fn run(self, stream: Stream) {
        (self.begin)(stream).await;
        drop(self.entered);
    }
}
