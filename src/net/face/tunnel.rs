//! What takes the place of HTTP on a connection after a 101.

use std::future::Future;
use std::pin::Pin;

use crate::net::admission::Entered;
use crate::net::stream::Stream;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is done with a connection after its 101.
pub(crate) struct Tunnel {
    begin: Box<dyn FnOnce(Stream) -> Running + Send>,
    /// Counts its request as one under way until it has ended.
    entered: Option<Entered>,
}

impl Tunnel {
    /// Makes one that runs what `begin` returns for the stream, which begins with what has come behind the request.
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
