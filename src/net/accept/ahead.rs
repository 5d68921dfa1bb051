//! Reads the complete header of an HTTP/1 request before Pingora sees a byte of it.
//!
//! Pingora 0.9.1 parses everything it has after each read, and its limit of 1 MiB is a constant: a
//! header that arrives byte by byte costs 0.23 ms per byte and 800 KiB per connection. Here each
//! byte is scanned once, `limits.header_bytes` counts bytes as they arrive, and Pingora parses a
//! complete header, which it takes for a pipelined request. This can go when Pingora has a setting
//! for the limit and a deadline for the whole header (its pull request 1000); the tests
//! `wire::flood::unfinished_headers_cost_little_more_than_their_bound` and
//! `wire::limits::header_that_drips_is_cut` then pass without it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::BytesMut;
use memchr::memchr;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// The maximum number of header fields that Pingora parses.
const FIELDS_READ: usize = 256;

/// The number of bytes per read.
const PART: usize = 4096;

/// A connection whose next request header is read ahead.
pub(crate) struct Ahead {
    stream: Stream,
    bytes: BytesMut,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// The client closed the connection, or it failed.
    Gone,
    /// The header is too long.
    TooLong,
    /// The header has too many fields.
    TooMany,
}

impl Ahead {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            bytes: BytesMut::new(),
        }
    }

    /// Waits for the first byte of a request.
    ///
    /// # Errors
    /// [`NoHeader::Gone`] if there is none.
    pub(crate) async fn begun(&mut self) -> Result<(), NoHeader> {
        if self.bytes.is_empty() {
            self.more(PART).await?;
        }
        Ok(())
    }

    /// Waits for a complete header of at most `most` bytes and `fields` fields. Cancel-safe.
    ///
    /// Bytes that cannot be a header count as complete, because Pingora has a response for them.
    ///
    /// # Errors
    /// [`NoHeader`] if the connection ends or a limit is exceeded.
    pub(crate) async fn header(&mut self, most: usize, fields: usize) -> Result<(), NoHeader> {
        let mut scan = Scan::default();
        loop {
            let end = scan.end(&self.bytes);
            match end {
                Some(end) if end > most => return Err(NoHeader::TooLong),
                // One field too many is rejected later, with a full log line. With more than
                // Pingora parses, there is no header to log.
                Some(_) if scan.fields <= FIELDS_READ => return Ok(()),
                None if scan.fields <= fields => {}
                _ => return Err(NoHeader::TooMany),
            }
            // One byte more distinguishes a header that is too long from an incomplete one.
            match (most + 1).saturating_sub(self.bytes.len()) {
                0 => return Err(NoHeader::TooLong),
                room => self.more(room).await?,
            }
        }
    }

    /// Returns a session that begins with the bytes read so far.
    pub(crate) fn into_session(self) -> ServerSession {
        let mut session = ServerSession::new_http1(self.stream);
        session.set_pipelined_prefix(self.bytes);
        session
    }

    /// Sends a response, and closes the sending side.
    ///
    /// # Errors
    /// The client has closed the connection.
    pub(crate) async fn refuse(&mut self, answer: &[u8]) -> io::Result<()> {
        self.stream.write_all(answer).await?;
        AsyncWriteExt::shutdown(&mut self.stream).await
    }

    /// Reads and discards up to `most` further bytes, or until the client closes the connection.
    pub(crate) async fn drain(&mut self, most: usize) {
        let mut drained = 0;
        while drained <= most {
            self.bytes.clear();
            if self.more(PART).await.is_err() {
                return;
            }
            drained += self.bytes.len();
        }
    }

    /// Reads at most `room` further bytes.
    async fn more(&mut self, room: usize) -> Result<(), NoHeader> {
        let read = std::future::poll_fn(|context| {
            // Not stored in the future, where every waiting connection would hold it.
            let mut space = [MaybeUninit::uninit(); PART];
            let mut buffer = ReadBuf::uninit(space.get_mut(..room.min(PART)).unwrap_or_default());
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            self.bytes.extend_from_slice(buffer.filled());
            Poll::Ready(Ok::<_, io::Error>(buffer.filled().len()))
        });
        match read.await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(NoHeader::Gone),
        }
    }
}

/// The state of the search for the end of a header.
#[derive(Default)]
struct Scan {
    /// The beginning of the request line, after empty lines (RFC 9112 §2.2).
    start: usize,
    /// The position from which the next line feed is searched.
    at: usize,
    /// The number of fields that have begun.
    fields: usize,
}

impl Scan {
    /// Returns the length of the header at the beginning of `bytes`, if it is complete. `bytes`
    /// begins with those of the previous call.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let is_blank = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        if self.at <= self.start {
            let rest = bytes.get(self.start..).unwrap_or_default();
            self.start += rest.iter().take_while(is_blank).count();
            self.at = self.start;
            let first = bytes.get(self.start)?;
            if !is_of_token(*first) {
                return Some(bytes.len());
            }
        }
        loop {
            let rest = bytes.get(self.at..)?;
            let feed = self.at + memchr(b'\n', rest)?;
            match bytes.get(feed + 1..).unwrap_or_default() {
                [b'\n', ..] => return Some(feed + 2),
                [b'\r', b'\n', ..] => return Some(feed + 3),
                // The next byte is missing, so check this line feed again.
                [] | [b'\r'] => {
                    self.at = feed;
                    return None;
                }
                _ => {
                    self.at = feed + 1;
                    self.fields += 1;
                }
            }
        }
    }
}

/// Returns whether a method may contain a character (RFC 9110 §5.6.2).
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Searches the end of a header byte by byte, and in one call.
///
/// # Panics
/// The results differ, or the end is beyond the input.
#[cfg(any(test, fuzzing))]
pub fn fuzz(data: &[u8]) {
    let mut scan = Scan::default();
    let one_by_one = (0..=data.len()).find_map(|end| scan.end(data.get(..end)?));
    let at_once = Scan::default().end(data);
    let first = data.iter().find(|byte| !b"\r\n".contains(byte));
    // For input that is not a header, the end depends on the bytes available.
    let is_none = first.is_some_and(|first| !is_of_token(*first));
    assert!(is_none || one_by_one == at_once);
    assert_eq!(one_by_one.is_some(), at_once.is_some());
    assert!(at_once.is_none_or(|end| end <= data.len()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end(bytes: &[u8]) -> Option<usize> {
        Scan::default().end(bytes)
    }

    #[test]
    fn header_ends_after_the_first_empty_line() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"[..], Some(27)),
            (b"GET / HTTP/1.1\n\nrest", Some(16)),
            (b"GET / HTTP/1.1\r\n\nrest", Some(17)),
            (b"GET / HTTP/1.1\n\r\nrest", Some(17)),
            (b"\r\n\n\r\nGET / HTTP/1.1\r\n\r\n", Some(23)),
            (b"GET / HTTP/1.1\r\nHost: a\r\n", None),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r", None),
            (b"\r\n\r\n\r\n", None),
            (b"", None),
            (b"\x16\x03\x01", Some(3)),
            (b"\r\n(", Some(3)),
        ] {
            assert_eq!(end(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn end_is_the_same_however_the_bytes_come(
            bytes in proptest::collection::vec(prop::sample::select(&b"G /\r\n:x\x01"[..]), 0..24),
        ) {
            let mut scan = Scan::default();
            let found = (0..=bytes.len()).find_map(|length| scan.end(&bytes[..length]));
            let first = bytes.iter().position(|it| !b"\r\n".contains(it));
            match first.filter(|&first| !bytes[first].is_ascii_alphabetic()) {
                // For input that is not a header, the end depends on the bytes available.
                Some(first) => prop_assert_eq!(found, Some(first + 1)),
                None => prop_assert_eq!(found, end(&bytes)),
            }
        }

        /// Pingora's parser accepts every header that is complete here, and none before.
        #[test]
        fn parser_agrees_on_the_end(
            lines in proptest::collection::vec("(GET / HTTP/1.[01]|[A-Za-z]{1,3}: ?[ -~]{0,4}| |\r|x)(\r\n|\n)", 0..6),
            rest in "(\r\n|\n|\r|)",
        ) {
            let bytes = lines.concat() + &rest;
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let parsed = httparse::Request::new(&mut fields).parse(bytes.as_bytes());
            match (parsed, end(bytes.as_bytes())) {
                (Ok(httparse::Status::Complete(length)), found) => prop_assert_eq!(found, Some(length)),
                (Ok(httparse::Status::Partial), found) => prop_assert_eq!(found, None),
                (Err(_), _) => {}
            }
        }
    }

    #[tokio::test]
    async fn fields_are_counted_as_they_come() {
        for (bytes, expected) in [
            (
                "GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3",
                Some(NoHeader::TooMany),
            ),
            (
                "GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc",
                Some(NoHeader::TooMany),
            ),
            ("GET / HTTP/1.1\r\na: 1\r\nb: 2\r\n", None),
            ("GET / HTTP/1.1\r\na: 1\r\nb: 2", None),
        ] {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            let mut ahead = Ahead::new(Box::new(near));
            far.write_all(bytes.as_bytes()).await.unwrap();
            let header = ahead.header(1000, 2);
            let outcome = tokio::time::timeout(std::time::Duration::from_millis(50), header);
            assert_eq!(outcome.await.ok(), expected.map(Err), "{bytes:?}");
        }
        let whole = |fields: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: 1\r\n".repeat(fields));
        for (fields, expected) in [
            (0, Ok(())),
            (3, Ok(())),
            (FIELDS_READ, Ok(())),
            (FIELDS_READ + 1, Err(NoHeader::TooMany)),
        ] {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            let mut ahead = Ahead::new(Box::new(near));
            far.write_all(whole(fields).as_bytes()).await.unwrap();
            assert_eq!(ahead.header(60_000, 2).await, expected, "{fields}");
        }
    }

    #[tokio::test]
    async fn header_is_read_no_further_than_its_bound() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let mut ahead = Ahead::new(Box::new(near));
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        far.write_all(request).await.unwrap();
        assert_eq!(ahead.header(26, 1).await, Err(NoHeader::TooLong));
        assert_eq!(ahead.header(27, 1).await, Ok(()));
        assert_eq!(ahead.bytes, request[..]);
        ahead.bytes.clear();
        far.write_all(&[b'x'; 30_000]).await.unwrap();
        assert_eq!(ahead.header(8000, 1).await, Err(NoHeader::TooLong));
        assert_eq!(ahead.bytes.len(), 8001);
        drop(far);
        ahead.drain(1 << 20).await;
        assert_eq!(ahead.begun().await, Err(NoHeader::Gone));
    }
}
