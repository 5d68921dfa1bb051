//! What hyper reads and writes of an HTTP/1 connection: one request at a time, its header whole and checked.
//!
//! hyper parses what it has after each read, reads one request behind another, and reads chunks laxly. Here a header
//! is read to its end before hyper sees a byte of it, as far as `[limits]` allow; nothing of the next request is
//! passed on before the response is over; and a body ends where RFC 9112 says.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use hyper::body::Incoming;
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::{Found, Framing, Scan};
use super::tunnel::Tunnel;
use crate::http::refusal::Refusal;
use crate::net::settings::Live;
use crate::net::stream::{Stream, poll_more};

/// How much is read behind a request that is being answered, in bytes.
const AHEAD: usize = 4096;

/// What the parts of a connection know of each other. Only the task of the connection changes it.
#[derive(Default)]
pub(super) struct Shared(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    /// A request is being answered.
    pub(super) is_answering: bool,
    /// Its target, unless it is a path that hyper passes on as it is.
    pub(super) target: Option<Bytes>,
    /// Some of its body has not come.
    pub(super) is_in_body: bool,
    /// A body that nobody reads any more.
    pub(super) leftover: Option<Incoming>,
    /// Wakes the connection.
    pub(super) waker: Option<Waker>,
    /// Nobody has read anything of it.
    pub(super) is_unasked: bool,
    /// What is written in place of `HTTP/1.0 `, with which hyper begins the response to a request of that version.
    pub(super) version: &'static [u8],
    /// Interim responses that are to be written.
    pub(super) interim: BytesMut,
    /// What takes the place of HTTP.
    pub(super) tunnel: Option<Tunnel>,
    /// hyper has asked for more, and nothing was there.
    pub(super) is_waiting: bool,
    /// Some of a header has come.
    pub(super) has_begun: bool,
    /// Bytes have come while a request was being answered.
    pub(super) is_held: bool,
    /// Why the header that has come is rejected.
    pub(super) refused: Option<Refusal>,
    /// Something is written that the stream has not passed on.
    is_dirty: bool,
    /// The client takes nothing at present.
    pub(super) is_blocked: bool,
    /// How often something has been written.
    pub(super) writes: u64,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl State {
    /// Says whether the last response is with the client, and no other request has come as a whole.
    pub(super) fn is_idle(&self) -> bool {
        self.is_waiting && !self.is_answering && !self.is_dirty
    }

    /// Notes what wakes the connection when a body is left to it.
    pub(super) fn wakes(&mut self, waker: &Waker) {
        let is_known = self.waker.as_ref().is_some_and(|it| it.will_wake(waker));
        if !is_known {
            self.waker = Some(waker.clone());
        }
    }

    /// Says whether hyper may go on with bytes that have come before it asked.
    pub(super) fn take_held(&mut self) -> bool {
        let is_taken = self.is_held && !self.is_answering;
        self.is_held &= !is_taken;
        is_taken
    }
}

/// What comes next.
enum Phase {
    Head(Scan),
    /// The rest of a header, which is here and so many bytes long, and then a body.
    Rest(usize, Framing),
    Body(Framing),
    /// Nothing that could be read.
    Broken,
}

/// The connection, as hyper sees it.
pub(super) struct Checked {
    stream: Stream,
    /// What has come and was not passed on.
    unread: Vec<u8>,
    phase: Phase,
    shared: Arc<Shared>,
    settings: Live,
}

impl Checked {
    pub(super) fn new(stream: Stream, shared: Arc<Shared>, settings: Live) -> Self {
        Self {
            stream,
            unread: Vec::new(),
            phase: Phase::Head(Scan::default()),
            shared,
            settings,
        }
    }

    /// Returns the stream, and what has come and was not passed on.
    pub(super) fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.unread)
    }

    /// Reads a header to its end, and passes it on.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        {
            let mut state = self.shared.lock();
            state.is_waiting = true;
            if state.refused.is_some() {
                return Poll::Pending;
            }
            if state.is_answering {
                drop(state);
                return self.poll_behind(context);
            }
        }
        loop {
            let Phase::Head(scan) = &mut self.phase else {
                return Poll::Pending;
            };
            let settings = self.settings.load();
            let limits = &settings.limits;
            let (length, refusal) = match scan.advance(&self.unread) {
                Found::NoHeader => {
                    drop(settings);
                    // hyper answers it, and the connection ends.
                    self.begin(self.unread.len(), Framing::Length(0), None);
                    return self.give(buffer);
                }
                Found::At(end) => match scan.refusal(&self.unread, (end, true), limits) {
                    Some(refusal) => (end, Some(refusal)),
                    None => {
                        let (target, framing) = scan.facts(&self.unread);
                        drop(settings);
                        self.begin(end, framing, target);
                        return self.give(buffer);
                    }
                },
                Found::Nowhere => {
                    let length = self.unread.len();
                    (length, scan.refusal(&self.unread, (length, false), limits))
                }
            };
            let most = limits.header_bytes;
            drop(settings);
            let mut state = self.shared.lock();
            state.refused = refusal;
            state.has_begun = length > 0;
            if refusal.is_some() {
                return Poll::Pending;
            }
            drop(state);
            // One more tells a header that is too long from one that is not whole.
            let room = (most + 1).saturating_sub(length);
            let unread = &mut self.unread;
            let take = |part: &[u8]| unread.extend_from_slice(part);
            if ready!(poll_more(&mut self.stream, context, room, take))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Looks whether the client has ended the connection while it is answered.
    fn poll_behind(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            let unread = &mut self.unread;
            let take = |part: &[u8]| unread.extend_from_slice(part);
            if ready!(poll_more(&mut self.stream, context, AHEAD, take))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        self.shared.lock().is_held = true;
        Poll::Pending
    }

    /// Notes that a request begins whose header is here, and `length` bytes long.
    fn begin(&mut self, length: usize, framing: Framing, target: Option<Bytes>) {
        let mut state = self.shared.lock();
        state.is_waiting = false;
        state.has_begun = false;
        state.is_held = false;
        state.target = target;
        state.is_in_body = !framing.is_empty();
        self.phase = Phase::Rest(length, framing);
    }

    /// Passes on as much of a header as there is room for.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Phase::Rest(length, framing) = &mut self.phase else {
            return Poll::Pending;
        };
        let given = (*length).min(buffer.remaining());
        buffer.put_slice(self.unread.get(..given).unwrap_or_default());
        self.unread.drain(..given);
        *length -= given;
        if *length == 0 {
            self.phase = match std::mem::take(framing) {
                framing if framing.is_empty() => Phase::Head(Scan::default()),
                framing => Phase::Body(framing),
            };
        }
        Poll::Ready(Ok(()))
    }

    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Phase::Body(framing) = &mut self.phase else {
            return Poll::Pending;
        };
        let before = buffer.filled().len();
        if self.unread.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        } else {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(self.unread.get(..length).unwrap_or_default());
            self.unread.drain(..length);
        }
        let part = buffer.filled().get(before..).unwrap_or_default();
        let Some(used) = framing.advance(part) else {
            self.phase = Phase::Broken;
            return Poll::Ready(Err(malformed()));
        };
        if used < part.len() {
            let behind = part.get(used..).unwrap_or_default();
            self.unread.splice(..0, behind.iter().copied());
            buffer.set_filled(before + used);
        }
        if framing.is_empty() {
            self.phase = Phase::Head(Scan::default());
            self.shared.lock().is_in_body = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes interim responses.
    fn poll_interim(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        while !state.interim.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &state.interim);
            state.is_blocked = written.is_pending();
            let written = ready!(written)?;
            state.interim.advance(written);
            state.is_dirty = true;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Begins a response to HTTP/1.0 with the version that realmgate speaks (RFC 9110 §6.2).
    fn poll_version(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        let mut state = self.shared.lock();
        let left = state.version;
        let is_there = !left.is_empty() && bytes.len() >= left.len();
        if !is_there {
            return None;
        }
        let written = Pin::new(&mut self.stream).poll_write(context, left);
        if let Poll::Ready(Ok(length)) = written {
            state.version = left.get(length..).unwrap_or_default();
        }
        drop(state);
        Some(self.written(written))
    }

    fn written<T>(&self, outcome: Poll<T>) -> Poll<T> {
        let mut state = self.shared.lock();
        state.is_blocked = outcome.is_pending();
        state.is_dirty = true;
        state.writes = state.writes.wrapping_add(1);
        outcome
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the body is malformed")
}

impl AsyncRead for Checked {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.phase {
            Phase::Head(_) => this.poll_head(context, buffer),
            Phase::Rest(..) => this.give(buffer),
            Phase::Body(_) => this.poll_body(context, buffer),
            Phase::Broken => Poll::Ready(Err(malformed())),
        }
    }
}

impl AsyncWrite for Checked {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(context))?;
        if let Some(written) = this.poll_version(context, bytes) {
            return written;
        }
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(context))?;
        let first = parts.first().map(|part| &**part).unwrap_or_default();
        if let Some(written) = this.poll_version(context, first) {
            return written;
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_interim(context))?;
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        let mut state = this.shared.lock();
        state.is_blocked = flushed.is_pending();
        state.is_dirty &= !matches!(flushed, Poll::Ready(Ok(())));
        flushed
    }

    /// Leaves the stream open: what comes of it is up to the connection's task.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    fn limits() -> Limits {
        let config = crate::config::Config::parse("", "test", []).unwrap();
        Limits {
            header_bytes: 100,
            header_fields: 2,
            target_bytes: 10,
            ..config.limits
        }
    }

    /// Reads a header that has come at once. Returns where it ends, and why it is rejected.
    fn read(bytes: &[u8]) -> (Found, Option<Refusal>) {
        let mut scan = Scan::default();
        let found = scan.advance(bytes);
        let refusal = match found {
            Found::At(end) => scan.refusal(bytes, (end, true), &limits()),
            _ => scan.refusal(bytes, (bytes.len(), false), &limits()),
        };
        (found, refusal)
    }

    #[test]
    fn header_that_servers_read_in_different_ways_is_rejected() {
        for (fields, expected) in [
            ("Host: a\r\n", None),
            ("Content-Length: 5\r\n", None),
            ("content-length:5\r\n", None),
            ("Transfer-Encoding: Chunked\r\n", None),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", None),
            ("Host: a\n", Some(Refusal::LineEnding)),
            (
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                Some(Refusal::Framing),
            ),
            ("Content-Length: 5, 5\r\n", Some(Refusal::Framing)),
            ("Content-Length: \r\n", Some(Refusal::Framing)),
            ("Content-Length: -5\r\n", Some(Refusal::Framing)),
            (
                "Content-Length: 18446744073709551616\r\n",
                Some(Refusal::Framing),
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Some(Refusal::Framing),
            ),
            ("Transfer-Encoding: gzip\r\n", Some(Refusal::Framing)),
            (
                "Transfer-Encoding: chunked, chunked\r\n",
                Some(Refusal::Framing),
            ),
        ] {
            let header = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            let (found, refusal) = read(header.as_bytes());
            assert_eq!(found, Found::At(header.len()), "{fields:?}");
            assert_eq!(refusal, expected, "{fields:?}");
        }
        let early = read(b"\nGET / HTTP/1.1\r\n\r\n");
        assert_eq!(early, (Found::At(19), Some(Refusal::LineEnding)));
        assert_eq!(read(b"\r\nGET / HTTP/1.1\r\n\r\n"), (Found::At(20), None));
        assert_eq!(read(b"\x16\x03\x01").0, Found::NoHeader);
    }

    #[test]
    fn limits_hold_as_a_header_comes() {
        let field = "a: b\r\n";
        for (fields, expected) in [(2, None), (3, Some(Refusal::FieldCount))] {
            let begun = format!("GET / HTTP/1.1\r\n{}", field.repeat(fields));
            assert_eq!(read(begun.as_bytes()), (Found::Nowhere, expected));
            let whole = format!("{begun}\r\n");
            assert_eq!(read(whole.as_bytes()).1, expected);
        }
        for (length, expected) in [(10, None), (11, Some(Refusal::TargetLength))] {
            let target = "/".repeat(length);
            let header = format!("GET {target} HTTP/1.1\r\n\r\n");
            assert_eq!(read(header.as_bytes()).1, expected);
        }
        for (length, expected) in [(100, None), (101, Some(Refusal::HeaderLength))] {
            let begun = "GET / HTTP/1.1\r\na: ";
            let rest = "b".repeat(length - begun.len() - 4);
            let header = format!("{begun}{rest}\r\n\r\n");
            assert_eq!(header.len(), length);
            assert_eq!(read(header.as_bytes()).1, expected);
            let endless = format!("{begun}{}", "b".repeat(length - begun.len()));
            assert_eq!(read(endless.as_bytes()), (Found::Nowhere, expected));
        }
    }

    #[test]
    fn target_is_kept_where_hyper_changes_it_or_it_is_no_path() {
        for (target, is_kept) in [
            ("/a?b", false),
            ("//a", false),
            ("/a#b", true),
            ("*", true),
            ("http://a/b", true),
        ] {
            let header = format!("GET {target} HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
            let mut scan = Scan::default();
            scan.advance(header.as_bytes());
            let (kept, framing) = scan.facts(header.as_bytes());
            assert_eq!(kept.is_some(), is_kept, "{target}");
            assert!(kept.is_none_or(|kept| kept == target));
            assert!(matches!(framing, Framing::Length(3)));
        }
    }
}
