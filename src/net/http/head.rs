//! Strict scanner of HTTP/1 request headers, before hyper parses them.
//!
//! hyper accepts lines that end in LF alone, drops a repeated equal `Content-Length`, and cuts a
//! target at `#`. Here each line is checked once, as it arrives, and anything that servers
//! interpret differently is rejected.

use bytes::Bytes;
use memchr::memchr;

use super::chunks::{Chunks, is_of_token};
use crate::config::Limits;
use crate::http::rejection::Rejection;

/// The longest body length that hyper 1 accepts. It uses the two greater numbers itself.
const MOST_LENGTH: u64 = u64::MAX - 2;

/// How the end of a request body is found.
#[derive(Debug)]
pub(super) enum Framing {
    /// By length: the remaining bytes.
    Length(u64),
    /// By chunks.
    Chunked(Chunks),
}

impl Default for Framing {
    fn default() -> Self {
        Self::Length(0)
    }
}

impl Framing {
    /// Returns whether the body has ended.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_at_end(),
        }
    }

    /// Parses further bytes. Returns the number that belong to the body, or `None` if it is
    /// malformed.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Length(left) => {
                let used = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= used as u64;
                Some(used)
            }
            Self::Chunked(chunks) => chunks.advance(bytes).ok(),
        }
    }
}

/// The end of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Not received yet.
    Nowhere,
    /// After this number of bytes.
    At(usize),
    /// Not an HTTP header: hyper responds to it.
    NoHeader,
}

/// The progress in a header.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The start of the request line, after empty lines (RFC 9112 §2.2).
    start: usize,
    /// The start of the current line.
    line: usize,
    /// The number of scanned bytes of it without a line feed.
    searched: usize,
    /// The end of the request line; 0 until it is found.
    request_line: usize,
    fields: usize,
    lengths: usize,
    length: u64,
    codings: usize,
    is_framed_in_doubt: bool,
    has_bare_line_feed: bool,
}

impl Scan {
    /// Scans further bytes. `bytes` must begin with those of the last call.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Found {
        if self.request_line == 0 && self.searched <= self.start {
            let rest = bytes.get(self.start..).unwrap_or_default();
            let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
            self.start += blank.count();
            (self.line, self.searched) = (self.start, self.start);
            match bytes.get(self.start) {
                None => return Found::Nowhere,
                Some(&first) if !is_of_token(first) => return Found::NoHeader,
                Some(_) => {}
            }
        }
        loop {
            let rest = bytes.get(self.searched..).unwrap_or_default();
            let Some(feed) = memchr(b'\n', rest) else {
                self.searched = bytes.len();
                return Found::Nowhere;
            };
            let end = self.searched + feed;
            let line = bytes.get(self.line..end).unwrap_or_default();
            let whole = line.strip_suffix(b"\r");
            self.has_bare_line_feed |= whole.is_none();
            let line = whole.unwrap_or(line);
            (self.line, self.searched) = (end + 1, end + 1);
            if self.request_line == 0 {
                self.request_line = self.start + line.len();
            } else if line.is_empty() {
                return Found::At(end + 1);
            } else {
                self.fields += 1;
                self.field(line);
            }
        }
    }

    /// Parses a field that determines the length of the body.
    fn field(&mut self, line: &[u8]) {
        let value = |name: &[u8]| {
            let (start, value) = line.split_at_checked(name.len())?;
            start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
        };
        match line.first() {
            Some(b'c' | b'C') => {
                if let Some(length) = value(b"content-length:") {
                    self.lengths += 1;
                    match digits(length).filter(|length| *length <= MOST_LENGTH) {
                        Some(length) => self.length = length,
                        None => self.is_framed_in_doubt = true,
                    }
                }
            }
            Some(b't' | b'T') => {
                if let Some(coding) = value(b"transfer-encoding:") {
                    self.codings += 1;
                    self.is_framed_in_doubt |= !coding.eq_ignore_ascii_case(b"chunked");
                }
            }
            _ => {}
        }
    }

    /// Returns why a header with `length` received bytes is rejected, or `None` if it is not.
    /// `is_whole`: no further bytes belong to it.
    pub(super) fn rejection(
        &self,
        bytes: &[u8],
        (length, is_whole): (usize, bool),
        limits: &Limits,
    ) -> Option<Rejection> {
        if is_whole {
            let before = bytes.get(..self.start).unwrap_or_default();
            if self.has_bare_line_feed || before.chunks(2).any(|line| line != b"\r\n") {
                return Some(Rejection::LineEnding);
            }
            if self.is_framed_in_doubt || self.lengths > 1 || self.codings > 1 {
                return Some(Rejection::Framing);
            }
            if self.target(bytes).len() > limits.target_bytes {
                return Some(Rejection::TargetLength);
            }
        }
        if self.fields > limits.header_fields {
            Some(Rejection::FieldCount)
        } else if length > limits.header_bytes {
            Some(Rejection::HeaderLength)
        } else {
            None
        }
    }

    /// Returns the target of a request with a complete header, unless it is a path that hyper
    /// passes on unchanged, and the framing of its body.
    pub(super) fn facts(&self, bytes: &[u8]) -> (Option<Bytes>, Framing) {
        let target = self.target(bytes);
        let is_plain = target.starts_with(b"/") && memchr(b'#', target).is_none();
        let framing = match self.codings {
            0 => Framing::Length(self.length),
            _ => Framing::Chunked(Chunks::default()),
        };
        ((!is_plain).then(|| Bytes::copy_from_slice(target)), framing)
    }

    /// Returns the request target.
    fn target<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let line = bytes.get(self.start..self.request_line).unwrap_or_default();
        let after = memchr(b' ', line).map_or(line.len(), |at| at + 1);
        let rest = line.get(after..).unwrap_or_default();
        let end = memchr(b' ', rest).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }
}

/// Parses a number that consists of digits only.
fn digits(text: &[u8]) -> Option<u64> {
    let is_number = text.iter().all(u8::is_ascii_digit);
    is_number
        .then(|| str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

/// Scans a header byte by byte, and at once.
///
/// # Panics
/// The results differ, or the header is longer than the input.
#[cfg(any(test, fuzzing))]
pub fn fuzz(data: &[u8]) {
    let mut scan = Scan::default();
    let mut one_by_one = Found::Nowhere;
    for end in 0..=data.len() {
        one_by_one = scan.advance(data.get(..end).unwrap_or_default());
        if one_by_one != Found::Nowhere {
            break;
        }
    }
    let at_once = Scan::default().advance(data);
    assert_eq!(one_by_one, at_once);
    if let Found::At(end) = at_once {
        assert!(end <= data.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn header_ends_after_the_first_empty_line() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"[..], Found::At(27)),
            (b"GET / HTTP/1.1\n\nrest", Found::At(16)),
            (b"GET / HTTP/1.1\r\n\nrest", Found::At(17)),
            (b"GET / HTTP/1.1\n\r\nrest", Found::At(17)),
            (b"\r\n\n\r\nGET / HTTP/1.1\r\n\r\n", Found::At(23)),
            (b"GET / HTTP/1.1\r\nHost: a\r\n", Found::Nowhere),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r", Found::Nowhere),
            (b"\r\n\r\n\r\n", Found::Nowhere),
            (b"", Found::Nowhere),
            (b"\x16\x03\x01", Found::NoHeader),
            (b"\r\n(", Found::NoHeader),
        ] {
            let found = Scan::default().advance(bytes);
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn end_is_the_same_however_the_bytes_come(
            bytes in proptest::collection::vec(prop::sample::select(&b"G /\r\n:x\x01"[..]), 0..24),
        ) {
            fuzz(&bytes);
        }

        /// The parser accepts every header that is complete here, and none before.
        #[test]
        fn parser_agrees_on_the_end(
            lines in proptest::collection::vec("(GET / HTTP/1.[01]|[A-Za-z]{1,3}: ?[ -~]{0,4}| |\r|x)(\r\n|\n)", 0..6),
            rest in "(\r\n|\n|\r|)",
        ) {
            let bytes = lines.concat() + &rest;
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let parsed = httparse::Request::new(&mut fields).parse(bytes.as_bytes());
            match (parsed, Scan::default().advance(bytes.as_bytes())) {
                (Ok(httparse::Status::Complete(length)), found) => {
                    prop_assert_eq!(found, Found::At(length));
                }
                (Ok(httparse::Status::Partial), found) => prop_assert_eq!(found, Found::Nowhere),
                (Err(_), _) => {}
            }
        }
    }
}
