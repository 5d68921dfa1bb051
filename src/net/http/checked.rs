//! The stream that hyper sees of an HTTP/1 connection: one request at a time, with a complete and
//! checked header.
//!
//! hyper parses after each read, reads pipelined requests, and reads chunks leniently. Here a
//! header is read to its end before hyper sees any of it, as far as `[limits]` allow; nothing of
//! the next request is passed on before the response is complete and written; and a body ends where RFC 9112
//! says.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::Cache;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::head::{Facts, Found, Framing, Named, Scan};
use super::inserted::Inserted;
use super::shared::Shared;
use crate::net::settings::{Live, Settings};
use crate::net::stream::{PART, Stream, poll_more};

/// The maximum number of bytes read after a request while it is being processed.
const AHEAD: usize = 4096;
/// The size of the buffer of hyper up to which a header is read into it. It grows with large bodies, and must not be
/// filled with further requests then.
const AT_ONCE: usize = 16 << 10;

/// How long a request continues after its client has closed its sending side, where such a client
/// counts as gone. It may still be reading (RFC 9112 §9.6).
const HALF_CLOSED: Duration = Duration::from_secs(3);

/// The next input.
enum Phase {
    Head(Scan),
    /// The rest of a complete header, with its length, and then a body.
    Rest(usize, Framing),
    Body(Framing),
    /// Nothing that can be parsed.
    Broken,
}

/// The connection as hyper sees it.
pub(super) struct Checked {
    pub(super) stream: Stream,
    /// Received bytes that have not been passed on.
    unread: Vec<u8>,
    /// The client has closed its sending side behind those bytes.
    has_ended: bool,
    /// A request is dropped [`HALF_CLOSED`] after its client has closed its sending side.
    ends_with_client: bool,
    /// The end of that time.
    parting: Option<Pin<Box<Sleep>>>,
    phase: Phase,
    pub(super) inserted: Inserted,
    pub(super) shared: Arc<Shared>,
    settings: Cache<Live, Arc<Settings>>,
}

impl Checked {
    pub(super) fn new(
        stream: Stream,
        ends_with_client: bool,
        shared: Arc<Shared>,
        settings: Live,
    ) -> Self {
        Self {
            stream,
            unread: Vec::new(),
            has_ended: false,
            ends_with_client,
            parting: None,
            phase: Phase::Head(Scan::default()),
            inserted: Inserted::default(),
            shared,
            settings: Cache::new(settings),
        }
    }

    /// Returns the stream, and the received bytes that have not been passed on.
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
            if state.rejected.is_some() {
                return Poll::Pending;
            }
            // hyper 1.12 begins to parse a request as soon as the body of the last one has ended, also
            // while the response waits for the client. If it writes with `writev`, it then does not
            // poll the handler again.
            if state.is_answering || state.is_dirty {
                drop(state);
                return self.poll_behind(context);
            }
            state.has_begun = !self.unread.is_empty();
        }
        if self.unread.is_empty()
            && buffer.remaining() <= AT_ONCE
            && ready!(self.poll_at_once(context, buffer))?
        {
            return Poll::Ready(Ok(()));
        }
        loop {
            let Phase::Head(scan) = &mut self.phase else {
                return Poll::Pending;
            };
            let limits = &self.settings.load().limits;
            let (length, rejection) = match scan.advance(&self.unread) {
                Found::NoHeader => {
                    // hyper responds to it, and the connection ends.
                    let facts = Facts {
                        target: None,
                        framing: Framing::default(),
                        named: Named::ALL,
                    };
                    self.begin(self.unread.len(), facts);
                    return self.give(buffer);
                }
                Found::At(end) => match scan.rejection(&self.unread, (end, true), limits) {
                    Some(rejection) => (end, Some(rejection)),
                    None => {
                        let newer = scan.newer_minor();
                        if let Some(minor) = newer.and_then(|at| self.unread.get_mut(at)) {
                            *minor = b'1';
                        }
                        let facts = scan.facts(&self.unread);
                        self.begin(end, facts);
                        return self.give(buffer);
                    }
                },
                Found::Nowhere => {
                    let length = self.unread.len();
                    (
                        length,
                        scan.rejection(&self.unread, (length, false), limits),
                    )
                }
            };
            let mut state = self.shared.lock();
            state.rejected = rejection;
            state.has_begun = length > 0;
            if rejection.is_some() {
                return Poll::Pending;
            }
            drop(state);
            // One more distinguishes a header that is too long from one that is incomplete.
            let room = (limits.header_bytes + 1).saturating_sub(length);
            let unread = &mut self.unread;
            let take = |part: &[u8]| unread.extend_from_slice(part);
            if ready!(poll_more::<PART, _>(&mut self.stream, context, room, take))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads into the buffer of hyper. The bytes stay there if they are a header within the limits
    /// that needs no change, and nothing but its body; most requests arrive so. Returns whether they
    /// stay there; otherwise they are unread.
    fn poll_at_once(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let part = buffer.filled().get(before..).unwrap_or_default();
        if part.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let mut scan = Scan::default();
        if let Found::At(end) = scan.advance(part)
            && let limits = &self.settings.load().limits
            && scan.rejection(part, (end, true), limits).is_none()
            && scan.newer_minor().is_none()
        {
            let mut facts = scan.facts(part);
            let behind = part.get(end..).unwrap_or_default();
            if facts.framing.advance(behind) == Some(behind.len()) {
                self.begin(0, facts);
                self.end_head();
                return Poll::Ready(Ok(true));
            }
        }
        self.unread.extend_from_slice(part);
        buffer.set_filled(before);
        Poll::Ready(Ok(false))
    }

    /// Checks whether the client has closed the connection during its request. If the client has
    /// sent part of another request before, this is noticed behind [`AHEAD`] bytes at most.
    fn poll_behind(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.has_ended && self.unread.len() < AHEAD {
            let (room, unread) = (AHEAD - self.unread.len(), &mut self.unread);
            let take = |part: &[u8]| unread.extend_from_slice(part);
            match poll_more::<PART, _>(&mut self.stream, context, room, take)? {
                Poll::Ready(0) if self.unread.is_empty() && !self.ends_with_client => {
                    return Poll::Ready(Ok(()));
                }
                // The requests that have arrived are still answered.
                Poll::Ready(0) => self.has_ended = true,
                Poll::Ready(_) => {}
                Poll::Pending => break,
            }
        }
        if self.has_ended && self.ends_with_client {
            let parting = self
                .parting
                .get_or_insert_with(|| Box::pin(sleep(HALF_CLOSED)));
            if parting.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
        }
        if !self.unread.is_empty() {
            self.shared.lock().is_held = true;
        }
        Poll::Pending
    }

    /// Records that a request begins, with `length` bytes of its header still to be passed on.
    fn begin(&mut self, length: usize, facts: Facts) {
        let mut state = self.shared.lock();
        state.is_waiting = false;
        state.has_begun = false;
        state.is_held = false;
        state.target = facts.target;
        state.named = Some(facts.named);
        state.is_in_body = !facts.framing.is_empty();
        self.phase = Phase::Rest(length, facts.framing);
    }

    /// Passes on as much of a header as fits.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Phase::Rest(length, _) = &mut self.phase else {
            return Poll::Pending;
        };
        let given = (*length).min(buffer.remaining());
        buffer.put_slice(self.unread.get(..given).unwrap_or_default());
        self.unread.drain(..given);
        *length -= given;
        if *length == 0 {
            self.end_head();
        }
        Poll::Ready(Ok(()))
    }

    /// Begins the body of a request whose header has been passed on.
    fn end_head(&mut self) {
        if let Phase::Rest(_, framing) = &mut self.phase {
            self.phase = match std::mem::take(framing) {
                framing if framing.is_empty() => Phase::Head(Scan::default()),
                framing => Phase::Body(framing),
            };
        }
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
        let mut state = self.shared.lock();
        state.body_bytes = state.body_bytes.wrapping_add(used as u64);
        if framing.is_empty() {
            self.phase = Phase::Head(Scan::default());
            state.is_in_body = false;
        }
        Poll::Ready(Ok(()))
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
        let before = buffer.filled().len();
        let read = match this.phase {
            Phase::Head(_) => this.poll_head(context, buffer),
            Phase::Rest(..) => this.give(buffer),
            Phase::Body(_) => this.poll_body(context, buffer),
            Phase::Broken => Poll::Ready(Err(malformed())),
        };
        if read.is_ready() && buffer.filled().len() == before {
            this.shared.lock().has_end = true;
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::http::rejection::Rejection;

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
    fn read(bytes: &[u8]) -> (Found, Option<Rejection>) {
        let mut scan = Scan::default();
        let found = scan.advance(bytes);
        let rejection = match found {
            Found::At(end) => scan.rejection(bytes, (end, true), &limits()),
            _ => scan.rejection(bytes, (bytes.len(), false), &limits()),
        };
        (found, rejection)
    }

    #[test]
    fn header_that_servers_read_in_different_ways_is_rejected() {
        for (fields, expected) in [
            ("Host: a\r\n", None),
            ("Content-Length: 5\r\n", None),
            ("content-length:5\r\n", None),
            ("Transfer-Encoding: Chunked\r\n", None),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", None),
            ("Host: a\n", Some(Rejection::LineEnding)),
            (
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                Some(Rejection::Framing),
            ),
            ("Content-Length: 5, 5\r\n", Some(Rejection::Framing)),
            ("Content-Length: \r\n", Some(Rejection::Framing)),
            ("Content-Length: -5\r\n", Some(Rejection::Framing)),
            (
                "Content-Length: 18446744073709551616\r\n",
                Some(Rejection::Framing),
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Some(Rejection::Framing),
            ),
            ("Transfer-Encoding: gzip\r\n", Some(Rejection::Coding)),
            (
                "Transfer-Encoding: chunked, chunked\r\n",
                Some(Rejection::Framing),
            ),
        ] {
            let header = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            let (found, rejection) = read(header.as_bytes());
            assert_eq!(found, Found::At(header.len()), "{fields:?}");
            assert_eq!(rejection, expected, "{fields:?}");
        }
        let early = read(b"\nGET / HTTP/1.1\r\n\r\n");
        assert_eq!(early, (Found::At(19), Some(Rejection::LineEnding)));
        assert_eq!(read(b"\r\nGET / HTTP/1.1\r\n\r\n"), (Found::At(20), None));
        assert_eq!(read(b"\x16\x03\x01").0, Found::NoHeader);
    }

    #[test]
    fn limits_hold_as_a_header_comes() {
        let field = "a: b\r\n";
        for (fields, expected) in [(2, None), (3, Some(Rejection::FieldCount))] {
            let begun = format!("GET / HTTP/1.1\r\n{}", field.repeat(fields));
            assert_eq!(read(begun.as_bytes()), (Found::Nowhere, expected));
            let whole = format!("{begun}\r\n");
            assert_eq!(read(whole.as_bytes()).1, expected);
        }
        for (length, expected) in [(10, None), (11, Some(Rejection::TargetLength))] {
            let target = "/".repeat(length);
            let header = format!("GET {target} HTTP/1.1\r\n\r\n");
            assert_eq!(read(header.as_bytes()).1, expected);
        }
        for (length, expected) in [(100, None), (101, Some(Rejection::HeaderLength))] {
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
    fn headers_of_the_connection_are_noticed_in_any_case() {
        for (line, expected) in [
            ("", [false, false, false]),
            ("Content-Type: a", [false, false, false]),
            ("cOnnection: close", [true, false, false]),
            ("Connection:", [true, false, false]),
            ("Expect: 100-continue", [false, true, false]),
            ("EXPECT:x", [false, true, false]),
            ("X-Expect: x", [false, false, false]),
            ("Upgrade: websocket", [false, false, true]),
            ("uPGRADE:h2c", [false, false, true]),
            ("User-Agent: upgrade", [false, false, false]),
        ] {
            let line = if line.is_empty() {
                String::new()
            } else {
                format!("{line}\r\n")
            };
            let header = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
            let mut scan = Scan::default();
            scan.advance(header.as_bytes());
            let named = scan.facts(header.as_bytes()).named;
            let named = [named.connection, named.expect, named.upgrade];
            assert_eq!(named, expected, "{line}");
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
            let Facts {
                target: kept,
                framing,
                named,
            } = scan.facts(header.as_bytes());
            assert_eq!((named.connection, named.expect), (false, false));
            assert_eq!(kept.is_some(), is_kept, "{target}");
            assert!(kept.is_none_or(|kept| kept == target));
            assert!(matches!(framing, Framing::Length(3)));
        }
    }
}
