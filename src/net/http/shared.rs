//! The state that the parts of an HTTP/1 connection share.

use std::task::Waker;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use parking_lot::{Mutex, MutexGuard};

use super::head::Named;
use super::inserted::Text;
use super::tunnel::Tunnel;
use crate::http::rejection::Rejection;

/// The state that the parts of a connection share. Only the task of the connection changes it.
#[derive(Default)]
pub(super) struct Shared(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    /// A request is being processed.
    pub(super) is_answering: bool,
    /// When its header was complete.
    pub(super) began: Option<Instant>,
    /// Its target, unless it is a path that hyper passes on unchanged.
    pub(super) target: Option<Bytes>,
    /// The headers that it may have; `None` means all.
    pub(super) named: Option<Named>,
    /// Part of its body has not arrived.
    pub(super) is_in_body: bool,
    /// The number of body bytes read so far, as they are on the connection.
    pub(super) body_bytes: u64,
    /// A body whose rest must be discarded.
    pub(super) leftover: Option<Incoming>,
    /// Wakes the connection.
    pub(super) waker: Option<Waker>,
    /// No part of it has been read.
    pub(super) is_unasked: bool,
    /// Replaces `HTTP/1.0 `, with which hyper begins the response to a request of that version.
    pub(super) version: &'static [u8],
    /// Lines to write behind the status line of the next response.
    pub(super) lines: Option<Text>,
    /// hyper has read the end of the stream, or an error.
    pub(super) has_end: bool,
    /// Interim responses to write.
    pub(super) interim: BytesMut,
    /// The handler of the connection after a switch of protocols.
    pub(super) tunnel: Option<Tunnel>,
    /// hyper has read, and no bytes were available.
    pub(super) is_waiting: bool,
    /// Part of a header has arrived.
    pub(super) has_begun: bool,
    /// Bytes have arrived while a request was being processed, or its response written.
    pub(super) is_held: bool,
    /// Why the received header is rejected.
    pub(super) rejected: Option<Rejection>,
    /// Written bytes have not been flushed.
    pub(super) is_dirty: bool,
    /// The client is not reading at the moment.
    pub(super) is_blocked: bool,
    /// The number of writes.
    pub(super) writes: u64,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl State {
    /// Returns whether the last response is sent, and no further request has arrived completely.
    pub(super) fn is_idle(&self) -> bool {
        self.is_waiting && !self.is_answering && !self.is_dirty
    }

    /// Sets the waker for when a body is left to the connection.
    pub(super) fn wakes(&mut self, waker: &Waker) {
        let is_known = self.waker.as_ref().is_some_and(|it| it.will_wake(waker));
        if !is_known {
            self.waker = Some(waker.clone());
        }
    }

    /// Returns whether hyper may continue with bytes that arrived before it read.
    pub(super) fn take_held(&mut self) -> bool {
        let is_taken = self.is_held && !self.is_answering && !self.is_dirty;
        self.is_held &= !is_taken;
        is_taken
    }
}
