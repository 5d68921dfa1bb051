//! Strict scanner of HTTP/1 request headers, before hyper parses them.
//!
//! hyper accepts lines that end in LF alone, drops a repeated equal `Content-Length`, and cuts a
//! target at `#`. Here each line is checked once, as it arrives, and anything that servers
//! interpret differently is rejected.

use std::ops::Range;

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

/// The properties of a request with a complete header.
#[derive(Debug)]
pub(super) struct Facts {
    /// The target, unless it is a path that hyper passes on unchanged.
    pub(super) target: Option<Bytes>,
    /// The framing of the body.
    pub(super) framing: Framing,
    /// The headers that may be present.
    pub(super) named: Named,
}

/// The headers that a request may have. Looking up the others would be in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(super) connection: bool,
    pub(crate) expect: bool,
    pub(crate) upgrade: bool,
}

impl Named {
    /// Nothing is known about the header.
    pub(super) const ALL: Self = Self {
        connection: true,
        expect: true,
        upgrade: true,
    };
    /// h2 rejects requests with `Connection` or `Upgrade` (RFC 9113 §8.2.2).
    pub(super) const OF_HTTP2: Self = Self {
        connection: false,
        expect: true,
        upgrade: false,
    };
    const NONE: Self = Self {
        connection: false,
        expect: false,
        upgrade: false,
    };
}

/// The progress in a header.
#[derive(Debug)]
pub(super) struct Scan {
    /// The start of the request line, after empty lines (RFC 9112 §2.2).
    start: usize,
    /// The start of the current line.
    line: usize,
    /// The number of scanned bytes of it without a line feed.
    searched: usize,
    /// The end of the request line; 0 until it is found.
    request_line: usize,
    /// The request target.
    target: Range<usize>,
    /// The digits of the version in the request line; `None` if there is none.
    version: Option<(u8, u8)>,
    fields: usize,
    lengths: usize,
    length: u64,
    codings: usize,
    is_coded_unknown: bool,
    is_framed_in_doubt: bool,
    has_bare_line_feed: bool,
    named: Named,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            start: 0,
            line: 0,
            searched: 0,
            request_line: 0,
            target: 0..0,
            version: None,
            fields: 0,
            lengths: 0,
            length: 0,
            codings: 0,
            is_coded_unknown: false,
            is_framed_in_doubt: false,
            has_bare_line_feed: false,
            named: Named::NONE,
        }
    }
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
                self.target = target_of(line, self.start);
                self.version = version_of(line);
            } else if line.is_empty() {
                return Found::At(end + 1);
            } else {
                self.fields += 1;
                self.field(line);
            }
        }
    }

    /// Parses a field that determines the length of the body, and records those that concern the
    /// connection.
    fn field(&mut self, line: &[u8]) {
        let value = |name: &[u8]| {
            let (start, value) = line.split_at_checked(name.len())?;
            start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
        };
        match line.first() {
            Some(b'e' | b'E') => self.named.expect |= value(b"expect").is_some(),
            Some(b'c' | b'C') => {
                if let Some(length) = value(b"content-length:") {
                    self.lengths += 1;
                    match digits(length).filter(|length| *length <= MOST_LENGTH) {
                        Some(length) => self.length = length,
                        None => self.is_framed_in_doubt = true,
                    }
                }
                self.named.connection |= value(b"connection").is_some();
            }
            Some(b't' | b'T') => {
                if let Some(coding) = value(b"transfer-encoding:") {
                    self.codings += 1;
                    match Coding::of(coding) {
                        Coding::Chunked => {}
                        Coding::Unknown => self.is_coded_unknown = true,
                        Coding::Doubtful => self.is_framed_in_doubt = true,
                    }
                }
            }
            Some(b'u' | b'U') => self.named.upgrade |= value(b"upgrade").is_some(),
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
            if self.is_coded_unknown {
                return Some(Rejection::Coding);
            }
            if self.version.is_some_and(|(major, _)| major != b'1') {
                return Some(Rejection::Version);
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

    /// Returns the properties of a request with a complete header.
    pub(super) fn facts(&self, bytes: &[u8]) -> Facts {
        let target = self.target(bytes);
        let is_plain = target.starts_with(b"/") && memchr(b'#', target).is_none();
        let framing = match self.codings {
            0 => Framing::Length(self.length),
            _ => Framing::Chunked(Chunks::default()),
        };
        Facts {
            target: (!is_plain).then(|| Bytes::copy_from_slice(target)),
            framing,
            named: self.named,
        }
    }

    /// Returns the position of the minor version if it is higher than 1. Such a request is read as
    /// HTTP/1.1 (RFC 9110 §2.5).
    pub(super) fn newer_minor(&self) -> Option<usize> {
        let (_, minor) = self.version?;
        (minor > b'1').then(|| self.request_line - 1)
    }

    /// Returns the request target.
    fn target<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.target.clone()).unwrap_or_default()
    }
}

/// Returns the position of the request target in a request line, which begins at `start`.
fn target_of(line: &[u8], start: usize) -> Range<usize> {
    let after = memchr(b' ', line).map_or(line.len(), |at| at + 1);
    let rest = line.get(after..).unwrap_or_default();
    let end = memchr(b' ', rest).unwrap_or(rest.len());
    start + after..start + after + end
}

/// Returns the digits of the version at the end of a request line; `None` if there is none.
fn version_of(line: &[u8]) -> Option<(u8, u8)> {
    match line.split_last_chunk() {
        Some((before, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]))
            if before.ends_with(b" ") && major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Some((*major, *minor))
        }
        _ => None,
    }
}

/// The meaning of a `Transfer-Encoding` header (RFC 9112 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// `chunked`.
    Chunked,
    /// Codings that are not supported here, with or without `chunked` at the end.
    Unknown,
    /// Anything else, such as `chunked` before another coding: servers differ in how they read it.
    Doubtful,
}

impl Coding {
    fn of(value: &[u8]) -> Self {
        let mut names = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        let is_token = |name: &[u8]| !name.is_empty() && name.iter().copied().all(is_of_token);
        let is_chunked = |name: &[u8]| name.eq_ignore_ascii_case(b"chunked");
        let last = names.next_back().unwrap_or_default();
        let mut before = names.peekable();
        if before.peek().is_none() && is_chunked(last) {
            Self::Chunked
        } else if is_token(last) && before.all(|name| is_token(name) && !is_chunked(name)) {
            Self::Unknown
        } else {
            Self::Doubtful
        }
    }
}

/// Parses a number that consists of digits only.
fn digits(text: &[u8]) -> Option<u64> {
    let mut number = (!text.is_empty()).then_some(0_u64)?;
    for byte in text {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    Some(number)
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

    #[test]
    fn only_codings_that_all_servers_read_alike_are_unknown_ones() {
        for (value, expected) in [
            ("chunked", Coding::Chunked),
            ("Chunked", Coding::Chunked),
            ("gzip", Coding::Unknown),
            ("xchunked", Coding::Unknown),
            ("gzip, chunked", Coding::Unknown),
            ("gzip ,\tdeflate,chunked", Coding::Unknown),
            ("chunked, gzip", Coding::Doubtful),
            ("chunked, chunked", Coding::Doubtful),
            ("gzip, chunked, chunked", Coding::Doubtful),
            ("", Coding::Doubtful),
            (",chunked", Coding::Doubtful),
            ("chunked,", Coding::Doubtful),
            ("gzip;q=1, chunked", Coding::Doubtful),
            ("chun ked", Coding::Doubtful),
            ("chunked\u{b}", Coding::Doubtful),
            ("\"chunked\"", Coding::Doubtful),
        ] {
            assert_eq!(Coding::of(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn version_is_that_at_the_end_of_the_request_line() {
        for (line, expected, newer) in [
            ("GET / HTTP/1.1", Some((b'1', b'1')), None),
            ("GET / HTTP/1.0", Some((b'1', b'0')), None),
            ("GET / HTTP/1.2", Some((b'1', b'2')), Some(13)),
            ("\r\nGET / HTTP/1.9", Some((b'1', b'9')), Some(15)),
            ("GET / HTTP/2.0", Some((b'2', b'0')), None),
            ("GET / HTTP/0.9", Some((b'0', b'9')), Some(13)),
            ("GET /HTTP/1.2", None, None),
            ("GET / http/1.2", None, None),
            ("GET / HTTP/1.22", None, None),
            ("GET / HTTP/1.x", None, None),
            ("GET / HTTP/2", None, None),
            ("GET /", None, None),
        ] {
            let bytes = format!("{line}\r\n\r\n");
            let mut scan = Scan::default();
            scan.advance(bytes.as_bytes());
            assert_eq!(scan.version, expected, "{line}");
            assert_eq!(scan.newer_minor(), newer, "{line}");
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
