use std::str::FromStr;

use http::Uri;
use thiserror::Error;

use super::error::Error;

/// The base URL of a server: everything before `/ungleichotp/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Scheme, host, port and path prefix, without a trailing slash.
    base: String,
}

/// Why a server URL is invalid.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ServerUrlError {
    /// The text is not a URL.
    #[error("{0:?} is not a URL (expected http://host[:port] or https://host[:port])")]
    Url(String),
    /// The scheme is missing, or is neither http nor https.
    #[error(
        "{0:?} has no scheme http or https (expected http://host[:port] or https://host[:port])"
    )]
    Scheme(String),
    /// The URL has a user, a query or a fragment, which would not be sent.
    #[error("a server URL must not have a user or a query")]
    Parts,
}

impl FromStr for Server {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        let text = text.trim();
        let is_http = ["http://", "https://"].iter().any(|scheme| {
            text.get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        if text.contains(['@', '?', '#']) {
            return Err(ServerUrlError::Parts);
        }
        if !is_http {
            return Err(ServerUrlError::Scheme(text.to_owned()));
        }
        let uri: Uri = text
            .parse()
            .map_err(|_| ServerUrlError::Url(text.to_owned()))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(ServerUrlError::Url(text.to_owned()));
        }
        let mut base = text.trim_end_matches('/');
        for end in ["/verify", "/ungleichotp"] {
            base = base.strip_suffix(end).unwrap_or(base);
        }
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
        })
    }
}

impl Server {
    /// Returns the URL of a path of another API.
    pub(super) fn at(&self, path: &str) -> Result<Uri, Error> {
        let uri = format!("{}{path}", self.base);
        uri.parse().map_err(|_| Error::Invalid(uri))
    }

    /// Returns the URL of a resource below `/ungleichotp/`.
    pub(super) fn resource(&self, path: &str) -> Result<Uri, Error> {
        let uri = format!("{}/ungleichotp/{path}", self.base);
        uri.parse().map_err(|_| Error::Invalid(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_found_from_every_form_that_was_in_use() {
        for (given, verify) in [
            ("http://a:80", "http://a:80/ungleichotp/verify/"),
            ("https://a/", "https://a/ungleichotp/verify/"),
            ("https://a/ungleichotp", "https://a/ungleichotp/verify/"),
            ("https://a/ungleichotp/", "https://a/ungleichotp/verify/"),
            (
                "https://a/ungleichotp/verify",
                "https://a/ungleichotp/verify/",
            ),
            (
                "https://a/ungleichotp/verify/",
                "https://a/ungleichotp/verify/",
            ),
            (
                "HTTP://[::1]:8081/x/",
                "HTTP://[::1]:8081/x/ungleichotp/verify/",
            ),
        ] {
            let server: Server = given.parse().unwrap();
            let expected: Uri = verify.parse().unwrap();
            assert_eq!(server.resource("verify/").unwrap(), expected, "{given}");
        }
    }

    #[test]
    fn text_that_is_no_address_is_rejected() {
        for text in [
            "",
            "a",
            "a:80",
            "ftp://a",
            "http://",
            "http://a b",
            "http://u@a",
            "http://a/?x",
            "/a",
        ] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }
}
