//! Reads the target of a request: one meaning, or rejected.
//!
//! The server that decides about a path and the server that serves it must read it alike. So a path
//! that known servers read differently is rejected, not rewritten.

mod ambiguity;
mod readings;

use std::borrow::Cow;

pub(crate) use ambiguity::Ambiguity;
use readings::Readings;
pub(crate) use readings::begins_with_encoded_slash;

/// The path of a request, and the ways in which servers read it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The undecoded path, which a server sees that decodes nothing.
    literal: &'a [u8],
    /// The paths that other servers see; `None` if all see the literal one.
    readings: Option<Box<Readings>>,
    /// The path contains `//`: rejected unless the route allows it.
    pub(crate) double_slash: bool,
    /// The path contains `%2F`: rejected unless the route allows it.
    pub(crate) encoded_slash: bool,
}

impl<'a> Target<'a> {
    /// Reads an undecoded path without its query.
    ///
    /// # Errors
    /// [`Ambiguity`] if known servers read the path differently, whatever the routes are.
    pub(crate) fn read(raw: &'a [u8]) -> Result<Self, Ambiguity> {
        if raw.first() != Some(&b'/') {
            return Err(Ambiguity::NotAbsolute);
        }
        let mut is_plain = true;
        let mut double_slash = false;
        let mut before = 0;
        for &byte in raw {
            match byte {
                b'\\' | b'#' | b'?' | ..=b' ' | 0x7f.. => return Err(Ambiguity::Character),
                b'%' | b';' => is_plain = false,
                b'(' if before == b'/' => is_plain = false,
                b'/' if before == b'/' => double_slash = true,
                // Dot segments, and dots that Windows drops.
                b'/' if before == b'.' => is_plain = false,
                b'$' if before == b':' => return Err(Ambiguity::Stream),
                _ => {}
            }
            before = byte;
        }
        if is_plain && !double_slash && before != b'.' {
            return Ok(Self {
                literal: raw,
                readings: None,
                double_slash: false,
                encoded_slash: false,
            });
        }
        let readings = Readings::of(raw)?;
        Ok(Self {
            literal: raw,
            encoded_slash: readings.encoded_slash,
            readings: Some(Box::new(readings)),
            double_slash,
        })
    }

    /// Returns the undecoded path.
    pub(crate) fn literal(&self) -> &'a [u8] {
        self.literal
    }

    /// Returns the fully decoded path without parameters, empty segments, and trailing dots and
    /// spaces.
    pub(crate) fn plain(&self) -> &[u8] {
        let readings = self.readings.as_ref();
        readings.map_or(self.literal, |readings| &readings.plain)
    }

    /// Returns how many segments at the beginning are one segment each, and not an empty one, for
    /// every server. `None` if that is all of them, not counting an empty one at the end.
    pub(crate) fn single_segments(&self) -> Option<usize> {
        self.readings.as_ref()?.single_segments
    }

    /// Returns the other paths that servers may see. If these and the literal path have the same
    /// route, every server finds that route.
    pub(crate) fn readings(&self) -> impl Iterator<Item = &[u8]> {
        let readings = self.readings.iter();
        readings.flat_map(|it| {
            std::iter::once(&it.plain)
                .chain(&it.below_host)
                .map(|path| &**path)
        })
    }
}

/// Returns a path in lower case as case-insensitive servers see it, including letters that become
/// ASCII.
pub(crate) fn in_lower_case(path: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |byte: &u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if path.iter().all(is_plain) {
        return Cow::Borrowed(path);
    }
    let Some(text) = str::from_utf8(path).ok().filter(|text| !text.is_ascii()) else {
        return Cow::Owned(path.to_ascii_lowercase());
    };
    // Java and Go map one character to one: their lower case of U+0130 has no combining dot.
    let single = text
        .chars()
        .map(|it| if it == '\u{130}' { 'i' } else { it });
    let upper = single.flat_map(char::to_uppercase);
    let lower: String = upper.flat_map(char::to_lowercase).collect();
    Cow::Owned(lower.into_bytes())
}

/// Returns the host of a `Host` header or a URL authority, without port and without the dot of the
/// root. `None` if it is invalid or contains user information (RFC 9110 §7.2).
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
        None => match authority.bytes().position(|byte| byte == b':') {
            Some(end) => (authority.get(..end)?, authority.get(end + 1..)),
            None => (authority, None),
        },
    };
    if port.is_some_and(|port| port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    if host.starts_with('[') {
        return Some(host);
    }
    let is_of_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+');
    let mut is_label_empty = true;
    for byte in host.bytes() {
        // Empty labels are invalid (RFC 1035 §2.3.1): a server that drops them would see another host.
        if !is_of_label(byte) && (byte != b'.' || is_label_empty) {
            return None;
        }
        is_label_empty = byte == b'.';
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty()).then_some(host)
}

/// Returns whether a method is a token (RFC 9110 §9.1) that all programs read alike. Some programs
/// read lower-case letters as upper-case ones.
pub(crate) fn is_plain_method(method: &str) -> bool {
    let is_plain = |byte: u8| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    !method.is_empty() && method.len() <= 32 && method.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Result<Target<'_>, Ambiguity> {
        Target::read(path.as_bytes())
    }

    #[test]
    fn ambiguous_paths_are_rejected() {
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
            ("/a%u002e", Ambiguity::Escape),
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
    fn paths_that_are_encoded_twice_are_rejected_where_they_hide_something() {
        for (path, expected) in [
            ("/a/%252e%252e/b", Ambiguity::DotSegment),
            ("/a/.%252e/b", Ambiguity::DotSegment),
            ("/a/%25252e%25252e/b", Ambiguity::DotSegment),
            ("/a%252f..%252fb", Ambiguity::DotSegment),
            ("/a/..%253bx/b", Ambiguity::DotSegment),
            ("/a%255cb", Ambiguity::EncodedSpecial),
            ("/a%2500", Ambiguity::EncodedSpecial),
            ("/a%250d%250ab", Ambiguity::EncodedSpecial),
            ("/a%25u002e", Ambiguity::EncodedSpecial),
            ("/a/%253bx/b", Ambiguity::Parameter),
            ("/a/%25c0%25ae/b", Ambiguity::Encoding),
            ("/a/%2525252565", Ambiguity::Depth),
        ] {
            assert_eq!(read(path), Err(expected), "{path}");
        }
    }

    #[test]
    fn overlong_and_wide_forms_are_rejected_where_they_hide_something() {
        for (path, expected) in [
            ("/a/%c0%ae%c0%ae/b", Ambiguity::Encoding),
            ("/a%c0%afb", Ambiguity::Encoding),
            ("/a%e0%80%afb", Ambiguity::Encoding),
            ("/caf%e9", Ambiguity::Encoding),
            // Fullwidth full stop, solidus, reverse solidus, percent sign.
            ("/a/%ef%bc%8e%ef%bc%8e/b", Ambiguity::DotSegment),
            ("/a%ef%bc%8fb", Ambiguity::LookAlike),
            ("/a%ef%bc%bcb", Ambiguity::LookAlike),
            ("/a%ef%bc%852fb", Ambiguity::LookAlike),
            // Two dot leader, one dot leader.
            ("/a/%e2%80%a5/b", Ambiguity::DotSegment),
            ("/a/%e2%80%a4/b", Ambiguity::DotSegment),
            // Division slash, fraction slash, set minus: best fit of a Windows code page.
            ("/a%e2%88%95b", Ambiguity::LookAlike),
            ("/a%e2%81%84b", Ambiguity::LookAlike),
            ("/a%e2%88%96b", Ambiguity::LookAlike),
            // Fullwidth semicolon.
            ("/a/%ef%bc%9bx/b", Ambiguity::Parameter),
        ] {
            assert_eq!(read(path), Err(expected), "{path}");
        }
    }

    #[test]
    fn segments_that_are_sessions_of_asp_net_are_rejected() {
        for path in [
            "/(S(x))/admin",
            "/(s(x))/admin",
            "/(A(x)F(y))/admin/x",
            "/%28S(x)%29/admin",
            "/app/(F(x))",
            "/(S(x));p/admin",
        ] {
            assert_eq!(read(path), Err(Ambiguity::Session), "{path}");
        }
        for path in ["/Products(1)", "/(x)/y", "/a(S(x))/b", "/(1)", "/f(x)(y)"] {
            assert!(read(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn segments_that_are_nothing_but_a_parameter_are_rejected() {
        for path in [
            "/;/admin",
            "/;x/admin",
            "/public/;/admin",
            "/;",
            "/a/;x=1",
            "/%3b/admin",
            "/public/%3Bx/admin",
            "//;x/admin",
            "/a%2f;x/b",
            "/a;x%2fb",
            "/a;x%252fb",
            "/a%3bx%2fb",
            "/a%3bx%252fb",
            "/a%253bx%2fb",
        ] {
            assert_eq!(read(path), Err(Ambiguity::Parameter), "{path}");
        }
    }

    #[test]
    fn dots_and_spaces_that_windows_drops_make_no_dot_segment() {
        for path in [
            "/a/..%20/b",
            "/a/%20../b",
            "/a/.%20./b",
            "/a/.%c2%a0/b",
            "/a/..%20;x/b",
        ] {
            assert_eq!(read(path), Err(Ambiguity::DotSegment), "{path}");
        }
        for path in [
            "/a:$i30/b",
            "/a::$DATA",
            "/a%3a$DATA",
            "/a%3a%24DATA",
            "/a:%2524DATA",
        ] {
            assert_eq!(read(path), Err(Ambiguity::Stream), "{path}");
        }
    }

    #[test]
    fn plain_paths_pass_and_slashes_are_recorded() {
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
            ("/a:b/$c", false, false),
            ("/100%25", false, false),
            ("/100%25/%25zz", false, false),
        ] {
            let target = read(path).unwrap();
            assert_eq!(target.double_slash, double_slash, "{path}");
            assert_eq!(target.encoded_slash, encoded_slash, "{path}");
        }
    }

    #[test]
    fn ordinary_path_has_one_reading() {
        for path in ["/", "/api/", "/api/v1/users/alice.b@c:d/x,y=z~+'()*!$&_-"] {
            let target = read(path).unwrap();
            assert_eq!(target.readings().count(), 0, "{path}");
            assert_eq!(target.plain(), path.as_bytes());
        }
    }

    #[test]
    fn plain_reading_decodes_and_drops_all_that_some_server_does() {
        for (path, expected) in [
            ("/%61pi/x", "/api/x"),
            ("/%2561pi/x", "/api/x"),
            ("/api;x=1/y", "/api/y"),
            ("/a;x/b;y/c", "/a/b/c"),
            ("/a;", "/a"),
            ("/api%2fx", "/api/x"),
            ("/api%252fx", "/api/x"),
            ("/api%3bx/y", "/api/y"),
            ("/api%253bx/y", "/api/y"),
            ("/api%3fx", "/api"),
            ("/api%23x", "/api"),
            ("/a//b///c", "/a/b/c"),
            ("/a./b../c", "/a/b/c"),
            ("/a/.../b", "/a/b"),
            ("/a%20/%20b", "/a/b"),
            ("/a%20b", "/a b"),
            ("/%ef%bd%81pi", "/api"),
            ("/a%e2%80%8bpi", "/api"),
            ("//", "/"),
        ] {
            let target = read(path).unwrap();
            assert_eq!(target.plain(), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn two_slashes_at_the_beginning_may_be_a_host() {
        for (path, expected) in [
            ("//a/b/c", "/b/c"),
            ("/%2fa/b%20c", "/b c"),
            ("/%252fa/b", "/b"),
            ("//%252fa/b", "/b"),
            ("///a/b", "/b"),
            ("//a", "/"),
        ] {
            let target = read(path).unwrap();
            let below = target.readings().nth(1);
            assert_eq!(below, Some(expected.as_bytes()), "{path}");
        }
        assert_eq!(read("/a//b").unwrap().readings().count(), 1);
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
        for method in ["M-SEARCH", "VERSION-CONTROL", "X_1", "!#$%&'*+-.^_`|~9"] {
            assert!(is_plain_method(method), "{method}");
        }
        for method in [
            "",
            "get",
            "Get",
            "GE T",
            "G\u{e9}T",
            "GET/",
            "(A)",
            &"A".repeat(33),
        ] {
            assert!(!is_plain_method(method), "{method}");
        }
    }
}
