//! The rules about the header of a request that every door enforces.

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, Method, Uri, Version};

use crate::http::rejection::Rejection;
use crate::routing::target::{host_of, is_plain_method};

/// Returns the host of a request with its port; `None` if there is none, and it may be missing.
///
/// # Errors
/// The host is missing (RFC 9112 §3.2), given twice, or not text.
pub(super) fn host<'a>(
    headers: &'a HeaderMap,
    uri: &'a Uri,
    may_be_missing: bool,
) -> Result<Option<&'a str>, Rejection> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    let authority = uri.authority();
    let is_other = host.zip(authority).is_some_and(|(host, authority)| {
        !host
            .as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
    });
    if is_other || hosts.next().is_some() {
        return Err(Rejection::Host);
    }
    let named = host
        .map(|value| value.to_str().map_err(|_| Rejection::Host))
        .or_else(|| authority.map(|it| Ok(it.as_str())));
    if named.is_none() && !may_be_missing {
        return Err(Rejection::Host);
    }
    named.transpose()
}

/// Checks the host and the method of a request to an endpoint of realmgate. HTTP/1.0 needs no host,
/// and the checks of load balancers often have none.
///
/// # Errors
/// [`Rejection::Host`], [`Rejection::Method`] or [`Rejection::Trace`].
pub(super) fn check(parts: &Parts) -> Result<(), Rejection> {
    let host = host(
        &parts.headers,
        &parts.uri,
        parts.version == Version::HTTP_10,
    )?;
    // A client without an authority sends an empty one (RFC 9112 §3.2).
    let is_empty = host == Some("") && parts.uri.authority().is_none();
    if let Some(host) = host.filter(|_| !is_empty) {
        host_of(host).ok_or(Rejection::Host)?;
    }
    match parts.method {
        Method::TRACE => Err(Rejection::Trace),
        _ if !is_plain_method(parts.method.as_str()) => Err(Rejection::Method),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http::request::Builder;

    use super::*;

    fn checked(request: Builder) -> Result<(), Rejection> {
        check(&request.body(()).unwrap().into_parts().0)
    }

    fn requested(method: &str, hosts: &[&str]) -> Builder {
        let request = Request::builder().method(method).uri("/healthz");
        hosts
            .iter()
            .fold(request, |it, host| it.header(HOST, *host))
    }

    #[test]
    fn host_is_given_once_and_is_valid_or_empty() {
        for hosts in [
            &["a"][..],
            &["a:80"],
            &["[::1]:80"],
            &["a_b.example"],
            &[""],
        ] {
            assert_eq!(checked(requested("GET", hosts)), Ok(()), "{hosts:?}");
        }
        for hosts in [
            &[][..],
            &["a", "a"],
            &["", ""],
            &["a b"],
            &["a, b"],
            &["a/b"],
            &["u@a"],
            &["\u{e9}"],
        ] {
            let rejection = checked(requested("GET", hosts));
            assert_eq!(rejection, Err(Rejection::Host), "{hosts:?}");
        }
    }

    #[test]
    fn http10_may_lack_a_host_and_http2_may_not() {
        for (version, checks) in [
            (Version::HTTP_10, Ok(())),
            (Version::HTTP_2, Err(Rejection::Host)),
        ] {
            let request = requested("GET", &[]).version(version);
            assert_eq!(checked(request), checks, "{version:?}");
        }
        let two = requested("GET", &["a", "a"]).version(Version::HTTP_10);
        assert_eq!(checked(two), Err(Rejection::Host));
    }

    #[test]
    fn authority_is_the_only_host() {
        for (hosts, checks) in [
            (&[][..], Ok(())),
            (&["A"], Ok(())),
            (&["b"], Err(Rejection::Host)),
            (&[""], Err(Rejection::Host)),
        ] {
            let request = requested("GET", hosts).uri("http://a/healthz");
            assert_eq!(
                checked(request.version(Version::HTTP_2)),
                checks,
                "{hosts:?}"
            );
        }
    }

    #[test]
    fn method_has_no_lower_case_letters_and_is_not_trace() {
        for (method, checks) in [
            ("OPTIONS", Ok(())),
            ("M-SEARCH", Ok(())),
            ("get", Err(Rejection::Method)),
            ("TRACE", Err(Rejection::Trace)),
            ("trace", Err(Rejection::Method)),
        ] {
            assert_eq!(checked(requested(method, &["a"])), checks, "{method}");
        }
    }
}
