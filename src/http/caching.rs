//! Keeps responses to authenticated requests out of shared caches.
//!
//! RFC 9111 §3.5 forbids shared caches to store responses to requests with `Authorization` only.
//! Caches do not know the other headers that carry a credential.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

const PRIVATE: HeaderValue = HeaderValue::from_static("private");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store, private");

/// Headers that some caches prefer over `Cache-Control`. So is each header whose name ends with
/// `-cache-control` (RFC 9213).
const TARGETED: [&str; 5] = [
    "edge-control",
    "surrogate-control",
    "x-accel-expires",
    "x-cache-ttl",
    "x-varnish-ttl",
];

/// Returns the `Cache-Control` that keeps a response out of shared caches; `None` if the existing
/// one does.
///
/// It is the existing one, with `private` added, and without the directives that admit shared
/// caches: `public`, `s-maxage`, and `private` with header names (RFC 9111 §5.2.2). If the existing
/// one is malformed, it is `no-store`.
pub fn privatize(headers: &HeaderMap) -> Option<HeaderValue> {
    let values = || headers.get_all(CACHE_CONTROL).iter();
    if values().next().is_none() {
        return Some(PRIVATE);
    }
    let (mut is_private, mut is_shared) = (false, false);
    for value in values() {
        for directive in Directives(value.as_bytes()) {
            let Some(directive) = directive else {
                return Some(NO_STORE);
            };
            is_private |= directive.eq_ignore_ascii_case(b"private");
            is_shared |= admits_shared_caches(directive);
        }
    }
    if is_private && !is_shared {
        return None;
    }
    let mut kept = Vec::new();
    let directives = values().flat_map(|value| Directives(value.as_bytes()));
    for directive in directives.flatten() {
        if !admits_shared_caches(directive) && !directive.eq_ignore_ascii_case(b"private") {
            kept.extend_from_slice(directive);
            kept.extend_from_slice(b", ");
        }
    }
    kept.extend_from_slice(b"private");
    Some(HeaderValue::from_bytes(&kept).unwrap_or(NO_STORE))
}

/// Returns the headers of a response that some shared caches obey instead of `Cache-Control`.
pub fn targeted(headers: &HeaderMap) -> impl Iterator<Item = &HeaderName> {
    headers.keys().filter(|name| is_targeted(name))
}

/// Returns whether some shared caches obey a header of a response instead of `Cache-Control`.
pub(crate) fn is_targeted(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control") || TARGETED.contains(&name)
}

fn admits_shared_caches(directive: &[u8]) -> bool {
    let end = directive.iter().position(|&byte| byte == b'=');
    let (name, argument) = directive.split_at(end.unwrap_or(directive.len()));
    let name = name.trim_ascii();
    name.eq_ignore_ascii_case(b"public")
        || name.eq_ignore_ascii_case(b"s-maxage")
        || (name.eq_ignore_ascii_case(b"private") && !argument.is_empty())
}

/// The directives of a value, without empty ones. Yields `None` at an unterminated quoted string,
/// and then ends.
struct Directives<'a>(&'a [u8]);

impl<'a> Iterator for Directives<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let Some(end) = end_of_directive(self.0) else {
                self.0 = &[];
                return Some(None);
            };
            let (directive, rest) = self.0.split_at(end);
            self.0 = rest.get(1..).unwrap_or_default();
            let directive = directive.trim_ascii();
            if !directive.is_empty() {
                return Some(Some(directive));
            }
        }
        None
    }
}

/// Returns the position of the first comma outside quoted strings (RFC 9110 §5.6.4), or the end;
/// `None` if a quoted string is not terminated.
fn end_of_directive(list: &[u8]) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, &byte) in list.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => return Some(at),
            _ => {}
        }
    }
    (!is_quoted).then_some(list.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn authenticated_response_is_private_and_keeps_other_directives() {
        for (values, expected) in [
            (&[][..], Some("private")),
            (&[""], Some("private")),
            (&["max-age=60"], Some("max-age=60, private")),
            (&["public, max-age=60"], Some("max-age=60, private")),
            (&["PUBLIC"], Some("private")),
            (
                &["s-maxage=60,max-age=5", "S-MaxAge = 9"],
                Some("max-age=5, private"),
            ),
            (&["no-store"], Some("no-store, private")),
            (
                &["no-cache, max-age=0"],
                Some("no-cache, max-age=0, private"),
            ),
            (&["private"], None),
            (&["Private, max-age=60"], None),
            (&["private", "max-age=60"], None),
            (&["private", "public"], Some("private")),
            // Keeps only the named headers out of caches (RFC 9111 §5.2.2.7).
            (&["private=\"Set-Cookie, X-A\""], Some("private")),
            (&["private=x, private"], Some("private")),
            (&["public=\"x\""], Some("private")),
            (
                &["community=\"a, public\", must-revalidate"],
                Some("community=\"a, public\", must-revalidate, private"),
            ),
            (&["a=\"\\\", public\""], Some("a=\"\\\", public\", private")),
            (&[", ,public,,"], Some("private")),
            (&["private, a=\"b"], Some("no-store, private")),
            (&["private", "\"", "public"], Some("no-store, private")),
        ] {
            let found = privatize(&answer(values));
            let found = found.as_ref().map(|it| it.to_str().unwrap());
            assert_eq!(found, expected, "{values:?}");
        }
    }

    #[test]
    fn cache_specific_headers_are_found() {
        let mut headers = answer(&["private"]);
        for name in [
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "surrogate-control",
            "x-accel-expires",
            "x-cache-ttl",
            "x-varnish-ttl",
            "x-cache-control-more",
        ] {
            headers.insert(name, HeaderValue::from_static("60"));
        }
        let mut found: Vec<&str> = targeted(&headers).map(HeaderName::as_str).collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                "cdn-cache-control",
                "cloudflare-cdn-cache-control",
                "surrogate-control",
                "x-accel-expires",
                "x-cache-ttl",
                "x-varnish-ttl"
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn every_response_becomes_private(values in proptest::collection::vec("[ -~]{0,40}", 0..4)) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let headers = answer(&values);
            let made = privatize(&headers).map(|value| answer(&[value.to_str().unwrap()]));
            let made = made.unwrap_or(headers);
            assert_eq!(privatize(&made), None);
        }
    }
}
