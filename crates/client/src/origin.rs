use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;
use thiserror::Error;

/// The only destination of a credential: one scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: Scheme,
    /// In lower case.
    host: String,
    port: u16,
}

/// A text is not an `http` or `https` URL with a host, or contains a user.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an origin (expected http:// or https://, a host, and neither user nor password)")]
pub struct OriginError;

impl Origin {
    /// Returns the origin of a URL.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?.clone();
        let default = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let authority = uri.authority()?;
        // Text before an `@` is not the host, even if another parser accepts it.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        Some(Self {
            scheme,
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(default),
        })
    }

    /// Returns whether a URL is of this origin.
    pub(super) fn is_of(&self, uri: &Uri) -> bool {
        Self::of(uri).as_ref() == Some(self)
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let uri = text.parse().map_err(|_| OriginError)?;
        Self::of(&uri).ok_or(OriginError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_port_and_case_do_not_matter() {
        let origin: Origin = "https://App.Example.org".parse().unwrap();
        assert!(origin.is_of(&"https://app.example.org:443/x".parse().unwrap()));
        assert!(!origin.is_of(&"http://app.example.org:443/x".parse().unwrap()));
    }

    #[test]
    fn anything_else_is_no_origin() {
        for text in [
            "",
            "/",
            "app.example.org",
            "ftp://app.example.org",
            "https://user@app.example.org",
            "https://u:p@app.example.org",
            "https://",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(OriginError), "{text}");
        }
    }
}
