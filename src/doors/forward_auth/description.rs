//! Parsers of the original request, one per front proxy. Each reads only the headers of its front
//! proxy, each exactly once.

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, Method};
use memchr::{memchr, memmem};

use super::front_proxy::{ENVOY, FrontProxy};
use crate::http::rejection::Rejection;
use crate::net::request_line::{first, request_line_of as requested};
use crate::routing::input::{MatchInput, Unreadable};
use crate::telemetry::RequestLine;

/// Parses the parts of an original request. `target` is the undecoded path, with the query if there
/// is one.
///
/// # Errors
/// [`Rejection`] if programs read a part in different ways.
pub(crate) fn input<'a>(
    method: &str,
    host: &'a str,
    target: &'a [u8],
) -> Result<MatchInput<'a>, Rejection> {
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| Rejection::Malformed("method"))?;
    let path = target.split(|&byte| byte == b'?').next();
    let input = MatchInput::read(Some(host), &method, path.unwrap_or_default());
    input.map_err(|unreadable| match unreadable {
        Unreadable::Host => Rejection::Malformed("host"),
        Unreadable::Method => Rejection::Malformed("method"),
        unreadable => unreadable.into(),
    })
}

/// Returns the description of the original request for the log, valid or not, if it has all three
/// parts.
pub(super) fn request_line(parts: &Parts, proxy: FrontProxy) -> Option<RequestLine<'_>> {
    let named = |name| first(&parts.headers, name);
    match proxy {
        FrontProxy::Any => None,
        FrontProxy::Nginx => {
            let url = named("x-original-url")?;
            let at = memmem::find(url, b"://").map_or(0, |at| at + 3);
            let rest = url.get(at..)?;
            let (host, path) = rest.split_at(memchr(b'/', rest).unwrap_or(rest.len()));
            Some(RequestLine {
                method: named("x-original-method")?,
                host,
                path,
            })
        }
        FrontProxy::Traefik | FrontProxy::Caddy | FrontProxy::Haproxy => Some(RequestLine {
            method: named("x-forwarded-method")?,
            host: named("x-forwarded-host")?,
            path: named("x-forwarded-uri")?,
        }),
        FrontProxy::Envoy => {
            let request_line = requested(parts);
            let path = request_line.path.strip_prefix(ENVOY.as_bytes())?;
            Some(RequestLine {
                path,
                ..request_line
            })
        }
    }
}

/// Parses nginx's description: `X-Original-Method` and `X-Original-URL`, whose value is
/// `$scheme://$host$request_uri`.
pub(super) fn nginx(headers: &HeaderMap) -> Result<MatchInput<'_>, Rejection> {
    let method = once(headers, "x-original-method")?;
    let url = once(headers, "x-original-url")?;
    let malformed = Rejection::Malformed("x-original-url");
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    match rest.and_then(|rest| rest.split_at_checked(rest.find('/')?)) {
        Some((host, target)) => input(method, host, target.as_bytes()),
        None => Err(malformed),
    }
}

/// Parses the description of Traefik, Caddy and HAProxy: `X-Forwarded-Method`, `-Proto`, `-Host` and
/// `-Uri`.
pub(super) fn forwarded(headers: &HeaderMap) -> Result<MatchInput<'_>, Rejection> {
    let method = once(headers, "x-forwarded-method")?;
    let scheme = once(headers, "x-forwarded-proto")?;
    let host = once(headers, "x-forwarded-host")?;
    let target = once(headers, "x-forwarded-uri")?;
    if !matches!(scheme, "http" | "https" | "ws" | "wss") {
        return Err(Rejection::Malformed("x-forwarded-proto"));
    }
    input(method, host, target.as_bytes())
}

/// Parses the description of Envoy's HTTP service: the sub-request has the method and the host of
/// the original request, and its path after a prefix. `target` is the undecoded rest after the
/// prefix; `authority` is the host of a request without `Host`, as in HTTP/2.
pub(super) fn envoy<'a>(
    method: &Method,
    headers: &'a HeaderMap,
    authority: Option<&'a str>,
    target: &'a [u8],
) -> Result<MatchInput<'a>, Rejection> {
    let host = match authority {
        Some(authority) if !headers.contains_key(HOST) => authority,
        _ => once(headers, "host")?,
    };
    input(method.as_str(), host, target)
}

/// Returns the value of a header that occurs exactly once.
pub(super) fn once<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Rejection> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            str::from_utf8(value.as_bytes()).map_err(|_| Rejection::Malformed(name))
        }
        _ => Err(Rejection::Missing(name)),
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    #[test]
    fn nginx_description_is_read() {
        let headers = headers(&[
            ("x-original-method", "POST"),
            ("x-original-url", "https://a.example:8443/b%20c?d=/e"),
        ]);
        let described = nginx(&headers).unwrap();
        assert_eq!(described.method, Method::POST);
        assert_eq!(described.host, Some("a.example"));
        assert_eq!(described.target.plain(), b"/b c");
    }

    #[test]
    fn incomplete_repeated_or_foreign_description_is_rejected() {
        let method = ("x-original-method", "GET");
        let url = ("x-original-url", "http://a/b");
        let forwarded = [
            ("x-forwarded-method", "GET"),
            ("x-forwarded-uri", "/b"),
            ("x-forwarded-host", "a"),
        ];
        for fields in [
            &[method][..],
            &[url],
            &[method, url, url],
            &[method, method, url],
            &forwarded,
        ] {
            let rejection = nginx(&headers(fields)).unwrap_err();
            assert!(matches!(rejection, Rejection::Missing(_)), "{fields:?}");
        }
    }

    #[test]
    fn description_that_is_no_url_is_rejected() {
        for (method, url) in [
            ("get", "http://a/b"),
            ("GET", "/b"),
            ("GET", "ftp://a/b"),
            ("GET", "http://a"),
            ("GET", "http:///b"),
            ("GET", "http://u@a/b"),
            ("GET", "http://a b/c"),
            ("GET", "HTTP://a/b"),
        ] {
            let fields = [("x-original-method", method), ("x-original-url", url)];
            let rejection = nginx(&headers(&fields)).unwrap_err();
            assert!(
                matches!(rejection, Rejection::Malformed(_)),
                "{method} {url}"
            );
        }
    }

    #[test]
    fn trace_and_connect_are_rejected_whatever_the_route_says() {
        for (method, rejection) in [("TRACE", Rejection::Trace), ("CONNECT", Rejection::Connect)] {
            assert_eq!(input(method, "a", b"/b").unwrap_err(), rejection);
        }
    }

    #[test]
    fn ambiguous_original_path_is_rejected() {
        for path in ["/a/../b", "/%2e%2e/b", "/a\\b", "/a%00", "/a#b"] {
            let url = format!("http://a{path}");
            let fields = [("x-original-method", "GET"), ("x-original-url", &*url)];
            let rejection = nginx(&headers(&fields)).unwrap_err();
            assert!(matches!(rejection, Rejection::Path(_)), "{path}");
        }
    }

    const FORWARDED: [(&str, &str); 4] = [
        ("x-forwarded-method", "PUT"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.example:8443"),
        ("x-forwarded-uri", "/b%20c?d=/e"),
    ];

    #[test]
    fn forwarded_description_is_read() {
        let headers = headers(&FORWARDED);
        let described = forwarded(&headers).unwrap();
        assert_eq!(described.method, Method::PUT);
        assert_eq!(described.host, Some("a.example"));
        assert_eq!(described.target.plain(), b"/b c");
    }

    #[test]
    fn forwarded_description_needs_each_field_once_and_no_other_family() {
        for (index, field) in FORWARDED.iter().enumerate() {
            let mut without = FORWARDED.to_vec();
            without.remove(index);
            without.push(("x-original-method", "GET"));
            without.push(("x-original-url", "http://a/b"));
            let twice = [&FORWARDED[..], &[*field]].concat();
            for fields in [without, twice] {
                let rejection = forwarded(&headers(&fields)).unwrap_err();
                assert!(matches!(rejection, Rejection::Missing(_)), "{fields:?}");
            }
        }
        for (index, value) in [
            (0, "get"),
            (1, "ftp"),
            (1, "https, http"),
            (2, "a b"),
            (2, "u@a"),
        ] {
            let mut fields = FORWARDED;
            fields[index].1 = value;
            let rejection = forwarded(&headers(&fields)).unwrap_err();
            assert!(matches!(rejection, Rejection::Malformed(_)), "{fields:?}");
        }
        for uri in ["http://a/b", "*", "", "/a/%2e%2e/b", "/a\\b"] {
            let mut fields = FORWARDED;
            fields[3].1 = uri;
            let rejection = forwarded(&headers(&fields)).unwrap_err();
            assert!(matches!(rejection, Rejection::Path(_)), "{fields:?}");
        }
    }

    #[test]
    fn envoys_sub_request_is_its_own_description() {
        let host = headers(&[("host", "a.example")]);
        let described = envoy(&Method::POST, &host, None, b"/b?c").unwrap();
        assert_eq!(
            (described.host, described.target.plain()),
            (Some("a.example"), &b"/b"[..])
        );
        let none = headers(&[]);
        assert!(envoy(&Method::POST, &none, Some("a"), b"/b").is_ok());
        assert!(envoy(&Method::POST, &none, None, b"/b").is_err());
        assert!(envoy(&Method::POST, &host, None, b"b").is_err());
        assert!(envoy(&Method::POST, &host, None, b"").is_err());
        let twice = headers(&[("host", "a"), ("host", "b")]);
        assert!(envoy(&Method::POST, &twice, Some("a"), b"/b").is_err());
    }
}
