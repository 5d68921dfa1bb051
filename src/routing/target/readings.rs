//! The readings of a path that not all servers read as it is written.
//!
//! Servers decode escapes once, twice or not at all. They drop path parameters, empty segments, and
//! trailing dots and spaces, or keep them. A path is read in the two extreme ways: as it is written,
//! and with everything decoded and dropped. No segment that a route names contains an escape, a
//! parameter, or a trailing dot. So if a prefix matches both readings, it matches the reading of every
//! server between the two. Exact paths and `*` also depend on the number of segments, which servers
//! count differently: `RouteTable` checks that with `single_segments`. If the result depends on the
//! order in which a server decodes and drops, the path is rejected.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use unicode_normalization::UnicodeNormalization;

use super::ambiguity::Ambiguity;

/// The maximum number of times that a path may be encoded.
const DEPTH: usize = 3;

/// Characters that a Windows code page, but no normalization, maps to a slash or a backslash:
/// fraction slash, division slash, set minus.
const BEST_FIT: [char; 3] = ['\u{2044}', '\u{2215}', '\u{2216}'];

/// The paths that servers may see instead of the literal one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Readings {
    /// The path with everything decoded and dropped.
    pub(super) plain: Box<[u8]>,
    /// The same for the path after the first segment if the path begins with two slashes, because
    /// some servers take that segment for a host (RFC 3986 §4.2). One entry for each level of
    /// decoding.
    pub(super) below_host: Vec<Box<[u8]>>,
    /// Whether the literal path contains `%2F`.
    pub(super) encoded_slash: bool,
    /// The number of segments at the beginning that are one segment for every server; `None` if all
    /// are, not counting an empty one at the end.
    pub(super) single_segments: Option<usize>,
}

impl Readings {
    /// Reads a path that begins with a slash and consists of visible ASCII without `\`, `?` and
    /// `#`.
    pub(super) fn of(raw: &[u8]) -> Result<Self, Ambiguity> {
        let mut encoded_slash = false;
        for escape in escapes(raw) {
            match escape.ok_or(Ambiguity::Escape)? {
                b'/' => encoded_slash = true,
                b'.' | b'\\' | ..=0x1f | 0x7f => return Err(Ambiguity::EncodedSpecial),
                _ => {}
            }
        }
        let levels = levels(raw)?;
        let plain = tidied(last(&levels))?;
        // Some servers drop the parameter including the slash, others split the segment there
        // first.
        if raw.split(|&byte| byte == b'/').any(hides_slash) {
            return Err(Ambiguity::Parameter);
        }
        let below_host = levels.iter().filter_map(|text| below_host(text));
        let below_host = below_host.map(|below| tidied(last(&self::levels(below)?)));
        Ok(Self {
            plain,
            below_host: below_host.collect::<Result<_, _>>()?,
            encoded_slash,
            single_segments: single_segments(raw),
        })
    }
}

/// Returns the number of segments before the first one that is not a single one for every server.
/// `None` if all are, not counting an empty one at the end.
fn single_segments(raw: &[u8]) -> Option<usize> {
    let path = raw.strip_suffix(b"/").unwrap_or(raw);
    let mut segments = path.split(|&byte| byte == b'/').skip(1);
    segments.position(|segment| !is_single(segment))
}

/// Returns whether every server reads a segment as one segment that is not empty, and reads on
/// after it.
fn is_single(segment: &[u8]) -> bool {
    let is_end = |byte: &u8| matches!(byte, b'/' | b'\\' | b';' | b'?' | b'#');
    let is_dropped = |byte: &u8| matches!(byte, b'.' | b' ');
    levels(segment).is_ok_and(|levels| {
        levels
            .iter()
            .all(|text| !text.iter().any(is_end) && !text.iter().all(is_dropped))
    })
}

/// Returns whether a path begins with a slash and an encoded slash, at any depth of encoding.
pub(crate) fn begins_with_encoded_slash(path: &[u8]) -> bool {
    let rest = path.strip_prefix(b"/");
    rest.is_some_and(|rest| encoded_at(rest, b"2f"))
}

/// Returns the decoded byte of each percent sign, `None` for one without two hexadecimal digits.
fn escapes(text: &[u8]) -> impl Iterator<Item = Option<u8>> {
    let signs = text.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    signs.map(|(at, _)| {
        let digits = text.get(at + 1..at + 3)?;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let value = digit(digits.first()?)? * 16 + digit(digits.last()?)?;
        u8::try_from(value).ok()
    })
}

/// Decodes a path until nothing is left to decode. Replaces wide and drops invisible characters, as
/// some servers do. Returns the path before and after each step.
fn levels(raw: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, Ambiguity> {
    let mut levels = vec![Cow::Borrowed(raw)];
    loop {
        let Cow::Owned(next) = Cow::from(percent_decode(last(&levels))) else {
            return Ok(levels);
        };
        if levels.len() > DEPTH {
            return Err(Ambiguity::Depth);
        }
        let next = folded(next)?;
        let is_special = |byte: &u8| matches!(byte, b'\\' | ..=0x1f | 0x7f);
        // `%u002e`, as old Microsoft servers decode it.
        let is_wide = |six: &[u8]| {
            six.strip_prefix(b"%u")
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        if next.iter().any(is_special) || next.to_ascii_lowercase().windows(6).any(is_wide) {
            return Err(Ambiguity::EncodedSpecial);
        }
        levels.push(Cow::Owned(next));
    }
}

fn last<'a>(levels: &'a [Cow<'_, [u8]>]) -> &'a [u8] {
    levels.last().map(|text| &**text).unwrap_or_default()
}

/// Returns a path without its first segment, if that segment could be a host.
fn below_host(path: &[u8]) -> Option<&[u8]> {
    let rest = path.strip_prefix(b"//")?;
    let mut bytes = rest.iter();
    // Like the URL parser of browsers, with any number of slashes.
    let begin = bytes.position(|&byte| byte != b'/');
    let end = bytes.position(|&byte| byte == b'/');
    let end = begin.zip(end).map(|(begin, end)| begin + 1 + end);
    Some(end.and_then(|end| rest.get(end..)).unwrap_or(b"/"))
}

/// Replaces characters by their compatible forms (Unicode NFKC) and drops invisible ones, as some
/// file systems do.
fn folded(text: Vec<u8>) -> Result<Vec<u8>, Ambiguity> {
    if text.is_ascii() {
        return Ok(text);
    }
    let text = str::from_utf8(&text).map_err(|_| Ambiguity::Encoding)?;
    let shows = |it: &char| !matches!(it, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}');
    let folded: String = text.nfkc().filter(shows).collect();
    let slashes = |text: &str| text.matches(['/', '\\']).count();
    let signs = |text: &str| escapes(text.as_bytes()).flatten().count();
    let parameters = |text: &str| text.matches(';').count();
    let has_changed = slashes(text) != slashes(&folded)
        || signs(text) != signs(&folded)
        || (parameters(text) != parameters(&folded) && contains_encoded(text.as_bytes(), b"2f"));
    if has_changed || text.contains(BEST_FIT) {
        return Err(Ambiguity::LookAlike);
    }
    Ok(folded.into_bytes())
}

/// Drops parameters, empty segments, and the dots and spaces that Windows drops.
fn tidied(text: &[u8]) -> Result<Box<[u8]>, Ambiguity> {
    let mut path = Vec::with_capacity(text.len());
    for segment in text.split(|&byte| byte == b'/') {
        if segment.starts_with(b";") {
            return Err(Ambiguity::Parameter);
        }
        if segment.windows(2).any(|pair| pair == b":$") {
            return Err(Ambiguity::Stream);
        }
        // A server that parses a decoded path again finds a query in it.
        let mut parts = segment.split(|byte| matches!(byte, b';' | b'?' | b'#'));
        let name = parts.next().unwrap_or_default();
        if is_dots(name) {
            return Err(Ambiguity::DotSegment);
        }
        if is_session(name) {
            return Err(Ambiguity::Session);
        }
        let end = name.iter().rposition(|byte| !matches!(byte, b'.' | b' '));
        let name = end.and_then(|end| name.get(..=end)).unwrap_or_default();
        if !name.is_empty() {
            path.push(b'/');
            path.extend_from_slice(name.trim_ascii_start());
        }
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Ok(path.into())
}

/// Returns whether ASP.NET reads a segment as a cookieless session id, such as `(S(x))`, and
/// removes it before it finds the page.
fn is_session(segment: &[u8]) -> bool {
    match segment.trim_ascii() {
        [b'(', kind, b'(', ..] => kind.is_ascii_alphabetic(),
        _ => false,
    }
}

/// Returns whether a segment is `.` or `..`, or becomes one when spaces are removed.
fn is_dots(segment: &[u8]) -> bool {
    let only = segment.iter().all(|byte| matches!(byte, b'.' | b' '));
    only && segment.contains(&b'.') && (segment.len() <= 2 || segment.contains(&b' '))
}

/// Returns whether an encoded slash follows a semicolon, both at any depth of encoding.
fn hides_slash(segment: &[u8]) -> bool {
    let is_semicolon = |at: &usize| {
        let rest = segment.get(*at..).unwrap_or_default();
        rest.starts_with(b";") || encoded_at(rest, b"3b")
    };
    let semicolon = (0..segment.len()).find(is_semicolon);
    semicolon
        .and_then(|at| segment.get(at..))
        .is_some_and(|rest| contains_encoded(rest, b"2f"))
}

fn contains_encoded(text: &[u8], digits: &[u8; 2]) -> bool {
    (0..text.len()).any(|at| encoded_at(text.get(at..).unwrap_or_default(), digits))
}

/// Returns whether a text begins with the escape of two lower-case digits, at any depth of
/// encoding.
fn encoded_at(text: &[u8], digits: &[u8; 2]) -> bool {
    let Some(mut rest) = text.strip_prefix(b"%") else {
        return false;
    };
    while let Some(deeper) = rest.strip_prefix(b"25") {
        rest = deeper;
    }
    rest.get(..2)
        .is_some_and(|found| found.eq_ignore_ascii_case(digits))
}
