//! Counts the open streams of an HTTP/2 connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The streams of a connection.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) open: AtomicUsize,
    /// 1 once the client has shown that it speaks HTTP/2.
    pub(super) begun: AtomicUsize,
    /// The number of requests that h2 has rejected with 431 since they were last logged.
    pub(super) oversized: AtomicUsize,
    pub(super) changed: Notify,
}

/// A stream that counts as open until this is dropped.
pub(super) struct Open(Arc<Streams>);

impl Open {
    pub(super) fn new(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(streams))
    }
}

impl Clone for Open {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.changed.notify_one();
        }
    }
}
