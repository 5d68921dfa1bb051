//! Method, host and path of a request, as log lines show them.

use std::borrow::Cow;

use memchr::{memchr, memmem};
use percent_encoding::{CONTROLS, percent_encode};

/// The maximum length of a path in a line, in bytes of the request.
const PATH: usize = 512;
/// The maximum length of a host: a DNS name and a port.
const HOST: usize = 261;
/// The maximum length of a method.
const METHOD: usize = 32;

/// Method, host and path of a request as received. Clients choose them, so log lines show a limited part of each in
/// visible ASCII, and never a query or userinfo, which may contain secrets. An unknown part is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The host, with a port if there is one.
    pub host: &'a [u8],
    /// The path. Log lines omit a query or fragment after it.
    pub path: &'a [u8],
}

impl<'a> RequestLine<'a> {
    /// Returns the method; `None` if it is unknown.
    pub(super) fn method(&self) -> Option<Cow<'a, str>> {
        shown(self.method, METHOD)
    }

    /// Returns the host, without userinfo; `None` if it is unknown.
    pub(super) fn host(&self) -> Option<Cow<'a, str>> {
        shown(self.host.rsplit(|&byte| byte == b'@').next()?, HOST)
    }

    /// Returns the path, or that of a URL; `None` if it is unknown.
    pub(super) fn path(&self) -> Option<Cow<'a, str>> {
        let is_end = |byte: &u8| matches!(byte, b'?' | b'#');
        shown(below_authority(self.path.split(is_end).next()?), PATH)
    }
}

/// Returns a path unchanged, or the path of a URL, because its authority may contain a password.
fn below_authority(path: &[u8]) -> &[u8] {
    let rest = match memmem::find(path, b"://") {
        Some(at) if !path.starts_with(b"/") => path.get(at + 3..).unwrap_or_default(),
        _ => return path,
    };
    let slash = memchr(b'/', rest).unwrap_or(rest.len());
    rest.get(slash..).unwrap_or_default()
}

/// Returns the first `most` bytes of a text as visible ASCII and spaces; other bytes are percent-encoded.
fn shown(bytes: &[u8], most: usize) -> Option<Cow<'_, str>> {
    let bytes = bytes.get(..most).unwrap_or(bytes);
    (!bytes.is_empty()).then(|| percent_encode(bytes, CONTROLS).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_bounded_and_in_visible_ascii_and_without_a_query() {
        let long = [b"/".to_vec(), vec![b'a'; 600]].concat();
        for (path, expected) in [
            (&b"/x/y?secret=canary"[..], "/x/y"),
            (b"/x#secret", "/x"),
            (b"/a%3fb", "/a%3fb"),
            (b"http://u:secret@h/x?y", "/x"),
            (b"/http://a@b/x", "/http://a@b/x"),
            (
                b"/\x1b[2J\r\n\x7f\xe2\x80\xae\xff",
                "/%1B[2J%0D%0A%7F%E2%80%AE%FF",
            ),
            (&long, str::from_utf8(&long[..PATH]).unwrap()),
        ] {
            let request_line = RequestLine {
                path,
                ..RequestLine::default()
            };
            assert_eq!(request_line.path().as_deref(), Some(expected));
        }
        let request_line = RequestLine {
            method: b"GET",
            host: b"",
            path: b"?a=b",
        };
        assert_eq!(request_line.method().as_deref(), Some("GET"));
        assert_eq!((request_line.host(), request_line.path()), (None, None));
        let request_line = RequestLine {
            method: b"GET",
            host: b"u:secret@h:80",
            path: b"http://u:secret@h",
        };
        assert_eq!(
            (request_line.host().as_deref(), request_line.path()),
            (Some("h:80"), None)
        );
    }
}
