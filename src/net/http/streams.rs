//! Counts the open streams of an HTTP/2 connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The streams of a connection.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) open: AtomicUsize,
    /// 1 once the client has shown that it speaks HTTP/2.
    pub(super) begun: AtomicUsize,
    /// The number of requests that h2 has rejected with 431 since they were last logged.
    pub(super) oversized: AtomicUsize,
    pub(super) changed: Notify,
    pub(super) partial: Partial,
}

/// A frame or a header block whose rest has not been received.
#[derive(Default)]
pub(super) struct Partial {
    /// When the connection began to wait for the rest.
    pub(super) since: Mutex<Option<Instant>>,
    pub(super) began: Notify,
    is_awaited: AtomicBool,
}

impl Partial {
    /// Records that the connection waits for the rest.
    pub(super) fn wait(&self) {
        if !self.is_awaited.swap(true, Ordering::Relaxed) {
            *self.since.lock() = Some(Instant::now());
            self.began.notify_one();
        }
    }

    /// Records that the rest has been received.
    pub(super) fn end(&self) {
        if self.is_awaited.load(Ordering::Relaxed) {
            self.is_awaited.store(false, Ordering::Relaxed);
            *self.since.lock() = None;
        }
    }
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
