//! Reading where a request goes: one meaning, or refused.
//!
//! Whoever decides on a path and whoever serves it must read it alike. What proxies and applications
//! are known to read differently is therefore refused, not rewritten.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use pingora::http::RequestHeader;
use thiserror::Error;

/// A path that means one thing only, as routes are matched against it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// Percent-decoded, but for `%2F` and `%25`, so that `/%61dmin` is `/admin` here as it is there.
    pub(crate) path: Cow<'a, [u8]>,
    /// It holds `//`: refused unless the route allows it.
    pub(crate) double_slash: bool,
    /// It holds `%2F`: refused unless the route allows it.
    pub(crate) encoded_slash: bool,
}

/// Why a path is refused. For the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Ambiguity {
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    #[error("the path holds a character that does not belong there")]
    Character,
    #[error("the path holds a percent sign without two hexadecimal digits")]
    Escape,
    #[error("the path holds an encoded dot, backslash or control character")]
    EncodedSpecial,
    #[error("the path holds a dot segment")]
    DotSegment,
}

impl<'a> Target<'a> {
    /// Reads a path without its query, as it was on the wire.
    pub(crate) fn read(raw: &'a [u8]) -> Result<Self, Ambiguity> {
        if raw.first() != Some(&b'/') {
            return Err(Ambiguity::NotAbsolute);
        }
        let is_plain =
            |byte: &u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'\\' | b'#' | b'?');
        if !raw.iter().all(is_plain) {
            return Err(Ambiguity::Character);
        }
        let (path, encoded_slash) = decode(raw)?;
        let is_dots = |segment: &[u8]| matches!(without_parameters(segment), b"." | b"..");
        // Where an encoded slash is allowed, the server behind may take it for a slash.
        let has_dots = |segment: &[u8]| is_dots(segment) || split_encoded(segment).any(is_dots);
        if path.split(|&byte| byte == b'/').any(has_dots) {
            return Err(Ambiguity::DotSegment);
        }
        let double_slash = path.windows(2).any(|pair| pair == b"//");
        Ok(Self {
            path,
            double_slash,
            encoded_slash,
        })
    }

    /// Returns the path without path parameters (`;x=1`, RFC 3986 §3.3), as routes are looked up by: some
    /// servers drop them before they look.
    pub(crate) fn without_parameters(&self) -> Cow<'_, [u8]> {
        if !self.path.contains(&b';') {
            return Cow::Borrowed(&self.path);
        }
        let segments = self.path.split(|&byte| byte == b'/');
        let plain: Vec<&[u8]> = segments.map(without_parameters).collect();
        Cow::Owned(plain.join(&b'/'))
    }
}

fn decode(raw: &[u8]) -> Result<(Cow<'_, [u8]>, bool), Ambiguity> {
    if !raw.contains(&b'%') {
        return Ok((Cow::Borrowed(raw), false));
    }
    let mut encoded_slash = false;
    let mut path = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            path.push(byte);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_first_chunk::<2>().ok_or(Ambiguity::Escape)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(Ambiguity::Escape);
        }
        let triple = [b'%', digits[0], digits[1]];
        match percent_decode(&triple).next() {
            Some(b'/') => {
                encoded_slash = true;
                path.extend_from_slice(b"%2F");
            }
            Some(b'%') => path.extend_from_slice(b"%25"),
            Some(b'.' | b'\\' | 0..=0x1f | 0x7f) | None => return Err(Ambiguity::EncodedSpecial),
            Some(decoded) => path.push(decoded),
        }
        rest = after;
    }
    Ok((Cow::Owned(path), encoded_slash))
}

/// Splits a segment where `%2F` stands in it.
fn split_encoded(mut segment: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let end = segment.windows(3).position(|triple| triple == b"%2F");
        let (part, rest) = match end {
            Some(end) => (segment.get(..end), segment.get(end + 3..)),
            None => (Some(segment), None),
        };
        is_over = rest.is_none();
        segment = rest.unwrap_or_default();
        part
    })
}

fn without_parameters(segment: &[u8]) -> &[u8] {
    segment
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default()
}

/// Returns the host of a `Host` field or URL authority, without port and without the root's dot, or
/// none if it cannot be one (RFC 9110 §7.2; no user information).
pub(crate) fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            let is_v6 = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            if inside.is_empty() || !inside.bytes().all(is_v6) {
                return None;
            }
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':')?),
            };
            (authority.get(..inside.len() + 2)?, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if port.is_some_and(|port| port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !host.starts_with('[') && (host.is_empty() || !host.bytes().all(is_name)) {
        return None;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    // An empty label is none (RFC 1035 §2.3.1): some servers would drop it, and be somebody else.
    let has_labels = host.starts_with('[') || host.split('.').all(|label| !label.is_empty());
    has_labels.then_some(host)
}

/// Says whether a method is one that every program reads alike: upper-case letters, and hyphens as in
/// `M-SEARCH`.
pub(crate) fn is_plain_method(method: &str) -> bool {
    !method.is_empty()
        && method.len() <= 32
        && method
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

/// Returns the path as it was on the wire, without the query; of the absolute form, its path.
pub(crate) fn path_of(header: &RequestHeader) -> &[u8] {
    let raw = header.raw_path();
    let is_absolute_form = ["http://", "https://"].iter().any(|scheme| {
        raw.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    });
    if is_absolute_form && header.raw_path_is_utf8() {
        return header.uri.path().as_bytes();
    }
    raw.split(|&byte| byte == b'?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Result<Target<'_>, Ambiguity> {
        Target::read(path.as_bytes())
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for (path, expected) in [
            ("", Ambiguity::NotAbsolute),
            ("admin", Ambiguity::NotAbsolute),
            ("*", Ambiguity::NotAbsolute),
            ("/a\\b", Ambiguity::Character),
            ("/a#b", Ambiguity::Character),
            ("/a b", Ambiguity::Character),
            ("/a\0", Ambiguity::Character),
            ("/é", Ambiguity::Character),
            ("/a%", Ambiguity::Escape),
            ("/a%2", Ambiguity::Escape),
            ("/a%zz", Ambiguity::Escape),
            ("/a%+1", Ambiguity::Escape),
            ("/a%00", Ambiguity::EncodedSpecial),
            ("/a%0a", Ambiguity::EncodedSpecial),
            ("/a%5cb", Ambiguity::EncodedSpecial),
            ("/%2e%2e/a", Ambiguity::EncodedSpecial),
            ("/%2E/a", Ambiguity::EncodedSpecial),
            ("/a/../b", Ambiguity::DotSegment),
            ("/..", Ambiguity::DotSegment),
            ("/.", Ambiguity::DotSegment),
            ("/a/./b", Ambiguity::DotSegment),
            ("/a/..;/b", Ambiguity::DotSegment),
            ("/a/..;x=1/b", Ambiguity::DotSegment),
            ("/a/..%3b/b", Ambiguity::DotSegment),
            ("/a/..%2Fb", Ambiguity::DotSegment),
            ("/a/x%2f..%2fb", Ambiguity::DotSegment),
            ("/a/x%2f..", Ambiguity::DotSegment),
            ("/a/x;y%2f.;z", Ambiguity::DotSegment),
        ] {
            assert_eq!(read(path), Err(expected), "{path}");
        }
    }

    #[test]
    fn plain_paths_pass_and_slashes_are_noted() {
        for (path, double_slash, encoded_slash) in [
            ("/", false, false),
            ("/a/b.c", false, false),
            ("/a..b/...", false, false),
            ("/a//b", true, false),
            ("//", true, false),
            ("/a%2fb", false, true),
            ("/a%2Fb", false, true),
            ("/a%2F..b%2F", false, true),
            ("/a%252fb", false, false),
            ("/a%252f..%252fb", false, false),
        ] {
            let target = read(path).unwrap();
            assert_eq!(target.double_slash, double_slash, "{path}");
            assert_eq!(target.encoded_slash, encoded_slash, "{path}");
        }
    }

    #[test]
    fn parameters_do_not_count() {
        for (path, expected) in [
            ("/api", "/api"),
            ("/api/", "/api/"),
            ("/%61pi/x", "/api/x"),
            ("/api;x=1/y", "/api/y"),
            ("/a;x/b;y/c", "/a/b/c"),
            ("/;a", "/"),
            ("/a;", "/a"),
            ("/api%2fx", "/api%2Fx"),
            ("/api%3bx/y", "/api/y"),
        ] {
            let target = read(path).unwrap();
            assert_eq!(*target.without_parameters(), *expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn host_has_no_port_no_root_dot_and_no_user() {
        for (authority, expected) in [
            ("a.example", Some("a.example")),
            ("A.example:8080", Some("A.example")),
            ("a.example.", Some("a.example")),
            ("a.example.:80", Some("a.example")),
            ("[::1]", Some("[::1]")),
            ("[::1]:80", Some("[::1]")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("", None),
            (".", None),
            ("a..", None),
            ("a..:80", None),
            ("a..b", None),
            (".a", None),
            (":80", None),
            ("a:b", None),
            ("a:80:80", None),
            ("u@a", None),
            ("a/b", None),
            ("a b", None),
            ("[::1", None),
            ("[]", None),
            ("[::1]x", None),
        ] {
            assert_eq!(host_of(authority), expected, "{authority}");
        }
    }

    #[test]
    fn methods_are_upper_case() {
        assert!(is_plain_method("GET"));
        assert!(is_plain_method("M-SEARCH"));
        for method in ["", "get", "Get", "GE T", "G\u{e9}T", &"A".repeat(33)] {
            assert!(!is_plain_method(method), "{method}");
        }
    }
}
