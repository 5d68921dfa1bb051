//! The cookie of the admin page. Browsers send it to every port of its host, so the proxy removes it.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use memchr::memmem;

/// The name over HTTP on loopback.
pub(crate) const PLAIN: &str = "rg";

/// The name over TLS. The prefix makes browsers bind it to this host and to TLS.
pub(crate) const BOUND: &str = "__Host-rg";

/// Removes the cookie of the admin page from a request.
pub(crate) fn remove(headers: &mut HeaderMap) {
    let has_it = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        memmem::find(bytes, PLAIN.as_bytes()).is_some()
            && bytes.split(|byte| *byte == b';').any(is_own)
    };
    if !headers.get_all(COOKIE).iter().any(has_it) {
        return;
    }
    let kept: Vec<_> = headers.get_all(COOKIE).iter().filter_map(without).collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

/// Returns a value without the cookie; `None` if nothing is left.
fn without(value: &HeaderValue) -> Option<HeaderValue> {
    let pairs = value.as_bytes().split(|byte| *byte == b';');
    let kept: Vec<&[u8]> = pairs.filter(|pair| !is_own(pair)).collect();
    let text = kept.join(&b';');
    let text = text.trim_ascii();
    match text.is_empty() {
        true => None,
        false => HeaderValue::from_bytes(text).ok(),
    }
}

fn is_own(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
    let name = name.trim_ascii();
    [PLAIN, BOUND].iter().any(|own| own.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cookie_of_the_admin_page_is_removed() {
        for (before, after) in [
            ("rg=secret", None),
            ("__Host-rg=secret", None),
            ("a=1; rg=secret; b=2", Some("a=1; b=2")),
            ("rg=secret;b=2", Some("b=2")),
            ("a=1; __Host-rg=x; rg=y", Some("a=1")),
            ("a=1; rg", Some("a=1")),
            ("rgx=1; xrg=2; cargo=rg", Some("rgx=1; xrg=2; cargo=rg")),
            ("a=1; b=2", Some("a=1; b=2")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(before).unwrap());
            remove(&mut headers);
            let left = headers.get(COOKIE).map(|it| it.to_str().unwrap());
            assert_eq!(left, after, "{before}");
        }
    }

    #[test]
    fn every_cookie_header_is_searched() {
        let mut headers = HeaderMap::new();
        for value in ["a=1", "rg=secret", "b=2"] {
            headers.append(COOKIE, HeaderValue::from_static(value));
        }
        remove(&mut headers);
        let left: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(left, ["a=1", "b=2"]);
    }
}
