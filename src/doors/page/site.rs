//! The origin of the page, and its cookie.

use std::net::SocketAddr;

use http::header::{COOKIE, HOST, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::auth::SessionSecret;
use crate::config;
use crate::http::session_cookie;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins under which the page is served.
pub(super) struct Site {
    /// Without the scheme.
    hosts: Vec<String>,
    scheme: &'static str,
}

impl Site {
    pub(super) fn new(config: &config::Admin, address: Option<SocketAddr>) -> Self {
        if let Some(origin) = &config.origin {
            let (scheme, host) = origin.split_once("://").unwrap_or_default();
            return Self {
                hosts: vec![host.to_owned()],
                scheme: if scheme == "http" { "http" } else { "https" },
            };
        }
        let (scheme, default) = match config.transport.tls {
            true => ("https", 443),
            false => ("http", 80),
        };
        let hosts = address.map(|address| {
            let port = match address.port() {
                port if port == default => String::new(),
                port => format!(":{port}"),
            };
            let ip = match address {
                SocketAddr::V4(it) => it.ip().to_string(),
                SocketAddr::V6(it) => format!("[{}]", it.ip()),
            };
            vec![format!("{ip}{port}"), format!("localhost{port}")]
        });
        Self {
            hosts: hosts.unwrap_or_default(),
            scheme,
        }
    }

    /// Returns the host that a request names, if it is one of the page.
    pub(super) fn host<'a>(&'a self, parts: &Parts) -> Option<&'a str> {
        let mut named = parts.headers.get_all(HOST).iter();
        let header = named.next().map(HeaderValue::as_bytes);
        let authority = parts.uri.authority().map(|it| it.as_str().as_bytes());
        if named.next().is_some()
            || authority
                .zip(header)
                .is_some_and(|(one, other)| one != other)
        {
            return None;
        }
        let host = authority.or(header)?;
        let mut hosts = self.hosts.iter().map(String::as_str);
        hosts.find(|it| it.as_bytes().eq_ignore_ascii_case(host))
    }

    /// Returns whether a request was made by a document of the page itself. Browsers send at least
    /// one of the two headers with a form.
    pub(super) fn is_own(&self, host: &str, headers: &HeaderMap) -> bool {
        let one = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (None, _) => Ok(None),
                (Some(value), None) => Ok(Some(value.as_bytes())),
                _ => Err(()),
            }
        };
        let own = format!("{}://{host}", self.scheme);
        match (one(SEC_FETCH_SITE), one(ORIGIN)) {
            (Ok(Some(site)), Ok(origin)) => {
                site == b"same-origin" && origin.is_none_or(|it| it == own.as_bytes())
            }
            (Ok(None), Ok(Some(origin))) => origin == own.as_bytes(),
            _ => false,
        }
    }

    /// Returns the name of the cookie. The prefix binds it to this host and to TLS.
    fn cookie(&self) -> &'static str {
        match self.scheme {
            "https" => session_cookie::BOUND,
            _ => session_cookie::PLAIN,
        }
    }

    /// Returns the secret in the cookie; `None` if there is none, or several.
    pub(super) fn secret(&self, headers: &HeaderMap) -> Option<SessionSecret> {
        let name = self.cookie();
        let lines = headers.get_all(COOKIE).iter();
        let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let mut values = pairs.filter_map(|pair| {
            let pair = pair.trim_ascii();
            let (key, value) = pair.split_at_checked(name.len())?;
            (key == name.as_bytes()).then(|| value.strip_prefix(b"="))?
        });
        match (values.next(), values.next()) {
            (Some(value), None) => SessionSecret::parse(value),
            _ => None,
        }
    }

    /// Returns whether the request has the cookie, whatever its value.
    pub(super) fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let name = self.cookie().as_bytes();
        let mut lines = headers.get_all(COOKIE).iter();
        lines.any(|line| {
            let mut pairs = line.as_bytes().split(|byte| *byte == b';');
            pairs.any(|pair| {
                pair.split(|byte| *byte == b'=')
                    .next()
                    .map(<[u8]>::trim_ascii)
                    == Some(name)
            })
        })
    }

    /// Returns the header that sets the cookie, or deletes it.
    pub(super) fn set_cookie(&self, secret: Option<&SessionSecret>) -> Option<HeaderValue> {
        let name = self.cookie();
        let secure = match self.scheme {
            "https" => "; Secure",
            _ => "",
        };
        let value = match secret {
            Some(secret) => zeroize::Zeroizing::new(format!(
                "{name}={}; Path=/; HttpOnly; SameSite=Strict{secure}",
                &**secret.text()
            )),
            None => zeroize::Zeroizing::new(format!(
                "{name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{secure}"
            )),
        };
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::config::{Admin, Transport};

    fn site(origin: Option<&str>, tls: bool) -> Site {
        let config = Admin {
            listen: None,
            origin: origin.map(str::to_owned),
            transport: Transport {
                tls,
                ..Transport::default()
            },
        };
        Site::new(&config, Some("127.0.0.1:8083".parse().unwrap()))
    }

    fn headers(pairs: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/");
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_hosts_of_the_page_are_served() {
        let site = site(None, false);
        for host in ["127.0.0.1:8083", "localhost:8083", "LOCALHOST:8083"] {
            assert!(site.host(&headers(&[("host", host)])).is_some(), "{host}");
        }
        for host in [
            "127.0.0.1",
            "evil.example",
            "127.0.0.1:8084",
            "localhost:8083.",
            "",
        ] {
            assert!(site.host(&headers(&[("host", host)])).is_none(), "{host}");
        }
        let twice = [("host", "localhost:8083"), ("host", "localhost:8083")];
        assert!(site.host(&headers(&twice)).is_none());
        assert!(site.host(&headers(&[])).is_none());
    }

    #[test]
    fn configured_origin_replaces_the_address() {
        let site = site(Some("https://admin.example.org"), false);
        assert!(
            site.host(&headers(&[("host", "admin.example.org")]))
                .is_some()
        );
        assert!(site.host(&headers(&[("host", "127.0.0.1:8083")])).is_none());
    }

    #[test]
    fn form_of_another_origin_is_not_own() {
        let site = site(None, false);
        let own = |pairs: &[_]| site.is_own("localhost:8083", &headers(pairs).headers);
        assert!(own(&[("sec-fetch-site", "same-origin")]));
        assert!(own(&[("origin", "http://localhost:8083")]));
        for pairs in [
            &[][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://localhost:8083"),
            ],
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://evil.example"),
            ],
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("origin", "https://localhost:8083")],
            &[("origin", "http://127.0.0.1:8083")],
            &[("origin", "null")],
        ] {
            assert!(!own(pairs), "{pairs:?}");
        }
    }

    #[test]
    fn cookie_is_bound_to_host_and_path() {
        let secret = SessionSecret::generate().unwrap();
        let set = |site: &Site, secret| {
            let value = site.set_cookie(secret).unwrap();
            value.to_str().unwrap().to_owned()
        };
        let (plain, tls) = (site(None, false), site(None, true));
        let text = secret.text();
        assert_eq!(
            set(&plain, Some(&secret)),
            format!("rg={}; Path=/; HttpOnly; SameSite=Strict", &**text)
        );
        assert_eq!(
            set(&tls, Some(&secret)),
            format!(
                "__Host-rg={}; Path=/; HttpOnly; SameSite=Strict; Secure",
                &**text
            )
        );
        assert!(set(&tls, None).contains("Max-Age=0"));
        let behind = site(Some("https://admin.example.org"), false);
        assert!(set(&behind, None).starts_with("__Host-rg="));
    }

    #[test]
    fn cookie_that_is_there_twice_is_none() {
        let site = site(None, false);
        let secret = SessionSecret::generate().unwrap();
        let text = secret.text();
        let one = format!("a=b; rg={}; rgx=1", &**text);
        let found = site.secret(&headers(&[("cookie", &one)]).headers);
        assert_eq!(found.unwrap().id(), secret.id());
        let twice = format!("rg=x; rg={}", &**text);
        for cookie in [twice.as_str(), "", "rg", "rg=", "rg=short", "xrg=1"] {
            let found = site.secret(&headers(&[("cookie", cookie)]).headers);
            assert!(found.is_none(), "{cookie}");
        }
    }
}
