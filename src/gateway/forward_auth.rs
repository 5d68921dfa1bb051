//! The forward-auth door: one URL a front proxy, one strict parser each.
//!
//! A parser reads the fields of its own front proxy and no others, each exactly once. What describes
//! the original request is believed from trusted proxies only.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use pingora::Result;
use pingora::proxy::Session;
use thiserror::Error;

use super::answer::Answer;
use super::peer_of;
use super::route::{Question, RouteTable};
use super::target::{Target, host_of, is_plain_method};
use crate::auth::{Attempt, Authority, Decision, Policy, Rule, UnixTime};
use crate::headers::{CredentialHeaders, IdentityHeaders, Scratch};
use crate::telemetry;

const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");

/// The most realms, and the most names, that a front proxy's URL may list.
const NARROWED_TO: usize = 16;

/// The door.
pub(crate) struct ForwardAuth {
    authority: Arc<Authority>,
    credential_headers: CredentialHeaders,
    identity_headers: IdentityHeaders,
    routes: Arc<RouteTable>,
    trusted_proxies: Box<[IpNet]>,
}

/// Which parser reads the description of the original request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrontProxy {
    /// None: the credential alone decides.
    Any,
    /// nginx's `auth_request`, and ingress-nginx.
    Nginx,
}

/// The original request, as its front proxy describes it.
#[derive(Debug)]
struct Described<'a> {
    method: Method,
    host: &'a str,
    target: Target<'a>,
}

/// Why a sub-request is refused before its credential is looked at: a 403, since a front proxy relays
/// nothing else. For the log.
#[derive(Debug, Error)]
enum Refusal {
    #[error("the sub-request comes from an address that is not in service.trusted_proxies")]
    Untrusted,
    #[error("the front proxy did not send exactly one {0}")]
    Missing(HeaderName),
    #[error("{0} is not what the front proxy should send")]
    Malformed(HeaderName),
    #[error("the original path is ambiguous: {0}")]
    Path(#[from] super::target::Ambiguity),
    #[error("the query of the forward-auth address is not made of realm= and name=")]
    Query,
    #[error("no route fits the original request")]
    NoRoute,
    #[error("the route does not take a path with such slashes")]
    Slashes,
}

impl FrontProxy {
    /// Returns the parser that a path asks for, or none.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "/forward-auth" => Some(Self::Any),
            "/forward-auth/nginx" => Some(Self::Nginx),
            _ => None,
        }
    }
}

impl ForwardAuth {
    pub(crate) fn new(
        authority: Arc<Authority>,
        credential_headers: CredentialHeaders,
        identity_headers: IdentityHeaders,
        routes: Arc<RouteTable>,
        trusted_proxies: &[IpNet],
    ) -> Self {
        Self {
            authority,
            credential_headers,
            identity_headers,
            routes,
            trusted_proxies: trusted_proxies.into(),
        }
    }

    /// Answers a sub-request with 200, 401, 403 or 503, and never with a body.
    ///
    /// # Errors
    /// The front proxy is gone.
    pub(crate) async fn answer(&self, session: &mut Session, proxy: FrontProxy) -> Result<()> {
        let answer = self.decide(session, proxy).await;
        answer.send(session).await
    }

    async fn decide(&self, session: &Session, proxy: FrontProxy) -> Answer {
        let source = peer_of(session).map(|peer| peer.ip().to_canonical());
        let header = session.req_header();
        let narrowed = header.uri.query().unwrap_or_default();
        let policy = match self.policy(&header.headers, narrowed, source, proxy) {
            Ok(policy) => policy,
            Err(refusal) => {
                tracing::warn!(door = "forward-auth", ?source, %refusal, "refused");
                return Answer::empty(StatusCode::FORBIDDEN);
            }
        };
        let mut scratch = Scratch::new();
        let presented = self.credential_headers.read(&header.headers, &mut scratch);
        let attempt = Attempt { presented, source };
        let now = UnixTime::from(SystemTime::now());
        match self.authority.decide(&attempt, &policy, now).await {
            Decision::Permit(permit) => {
                let mut answer = Answer::empty(StatusCode::OK);
                if let Some(who) = self.identity_headers.who(&permit) {
                    answer.fields.extend(who);
                }
                if proxy == FrontProxy::Any {
                    // A front proxy that copies what is answered drops the token by this.
                    let token = self.identity_headers.token().clone();
                    answer.fields.push((token, HeaderValue::from_static("")));
                }
                answer
            }
            Decision::Denial(denial) => {
                telemetry::denied("forward-auth", None, &attempt, &denial);
                Answer::sub_request_denied(&denial)
            }
        }
    }

    /// Finds who may pass: what the route says, and what the front proxy's own URL narrows it to.
    fn policy(
        &self,
        headers: &HeaderMap,
        query: &str,
        source: Option<IpAddr>,
        proxy: FrontProxy,
    ) -> Result<Policy, Refusal> {
        let narrowed = narrowing(query)?;
        let route = match proxy {
            FrontProxy::Any => Policy::Authenticated,
            FrontProxy::Nginx => {
                self.trust(source)?;
                self.route_policy(&nginx(headers)?)?
            }
        };
        Ok(match narrowed {
            None => route,
            Some(narrowed) => route.and(narrowed),
        })
    }

    fn route_policy(&self, described: &Described<'_>) -> Result<Policy, Refusal> {
        if self.routes.is_empty() {
            return Ok(Policy::Authenticated);
        }
        let question = Question {
            host: Some(described.host),
            target: &described.target,
            method: &described.method,
        };
        let (_, route) = self.routes.find(&question).ok_or(Refusal::NoRoute)?;
        if !route.takes(&described.target) {
            return Err(Refusal::Slashes);
        }
        Ok(route.policy.clone())
    }

    /// A peer without an address came over a Unix socket, which file modes guard.
    fn trust(&self, source: Option<IpAddr>) -> Result<(), Refusal> {
        let trusted = source.is_none_or(|source| {
            self.trusted_proxies
                .iter()
                .any(|network| network.contains(&source))
        });
        if trusted {
            Ok(())
        } else {
            Err(Refusal::Untrusted)
        }
    }
}

/// Reads nginx's description: `X-Original-Method` and `X-Original-URL`, whose value is
/// `$scheme://$host$request_uri`.
fn nginx(headers: &HeaderMap) -> Result<Described<'_>, Refusal> {
    let method = once(headers, &X_ORIGINAL_METHOD)?;
    if !is_plain_method(method) {
        return Err(Refusal::Malformed(X_ORIGINAL_METHOD));
    }
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Malformed(X_ORIGINAL_METHOD))?;
    let malformed = || Refusal::Malformed(X_ORIGINAL_URL);
    let url = once(headers, &X_ORIGINAL_URL)?;
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or_else(malformed)?;
    let slash = rest.find('/').ok_or_else(malformed)?;
    let (authority, target) = rest.split_at(slash);
    let path = target.split('?').next().unwrap_or_default();
    Ok(Described {
        method,
        host: host_of(authority).ok_or_else(malformed)?,
        target: Target::read(path.as_bytes())?,
    })
}

fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            str::from_utf8(value.as_bytes()).map_err(|_| Refusal::Malformed(name.clone()))
        }
        _ => Err(Refusal::Missing(name.clone())),
    }
}

/// Reads `realm=a&realm=b&name=x`: any of the realms, and any of the names if there are some.
///
/// A key that is not known might be meant to narrow: it is refused rather than passed over.
fn narrowing(query: &str) -> Result<Option<Policy>, Refusal> {
    let mut realms = Vec::new();
    let mut names = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(Refusal::Query)?;
        let value = percent_decode_str(value)
            .decode_utf8()
            .map_err(|_| Refusal::Query)?;
        let list = match key {
            "realm" => &mut realms,
            "name" => &mut names,
            _ => return Err(Refusal::Query),
        };
        if value.is_empty() || list.len() == NARROWED_TO {
            return Err(Refusal::Query);
        }
        list.push(Box::<str>::from(value));
    }
    if realms.is_empty() {
        return if names.is_empty() {
            Ok(None)
        } else {
            Err(Refusal::Query)
        };
    }
    let rules = realms.iter().flat_map(|realm| {
        let whole_realm = names.is_empty().then_some(None);
        let each_name = names.iter().cloned().map(Some);
        whole_realm.into_iter().chain(each_name).map(|name| Rule {
            realm: realm.clone(),
            name,
        })
    });
    Ok(Some(Policy::Allow(rules.collect())))
}

#[cfg(test)]
mod tests {
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
        assert_eq!(described.host, "a.example");
        assert_eq!(&*described.target.path, b"/b c");
    }

    #[test]
    fn incomplete_or_doubled_or_foreign_description_is_refused() {
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
            let refusal = nginx(&headers(fields)).unwrap_err();
            assert!(matches!(refusal, Refusal::Missing(_)), "{fields:?}");
        }
    }

    #[test]
    fn description_that_is_no_url_is_refused() {
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
            let refusal = nginx(&headers(&fields)).unwrap_err();
            assert!(matches!(refusal, Refusal::Malformed(_)), "{method} {url}");
        }
    }

    #[test]
    fn ambiguous_original_path_is_refused() {
        for path in ["/a/../b", "/%2e%2e/b", "/a\\b", "/a%00", "/a#b"] {
            let url = format!("http://a{path}");
            let fields = [("x-original-method", "GET"), ("x-original-url", &*url)];
            let refusal = nginx(&headers(&fields)).unwrap_err();
            assert!(matches!(refusal, Refusal::Path(_)), "{path}");
        }
    }

    #[test]
    fn query_narrows_to_realms_and_names() {
        let rule = |realm: &str, name: Option<&str>| Rule {
            realm: realm.into(),
            name: name.map(Into::into),
        };
        let allow = |query: &str| match narrowing(query) {
            Ok(Some(Policy::Allow(rules))) => rules,
            other => panic!("{other:?}"),
        };
        assert!(matches!(narrowing(""), Ok(None)));
        assert_eq!(allow("realm=a"), [rule("a", None)]);
        assert_eq!(
            allow("realm=a&realm=b%26"),
            [rule("a", None), rule("b&", None)]
        );
        assert_eq!(
            allow("realm=a&name=x&name=y"),
            [rule("a", Some("x")), rule("a", Some("y"))]
        );
    }

    #[test]
    fn query_that_says_something_else_is_refused() {
        let many = "realm=a&".repeat(NARROWED_TO + 1);
        for query in [
            "realms=a",
            "realm",
            "realm=",
            "name=x",
            "realm=%ff",
            "Realm=a",
            &many,
        ] {
            assert!(matches!(narrowing(query), Err(Refusal::Query)), "{query}");
        }
    }
}
