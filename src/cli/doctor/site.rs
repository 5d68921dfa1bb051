//! The deployment: where requests go, and how they are written.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use http::Uri;
use rustls::ClientConfig;

use super::wire::{self, Reply};
use crate::tls::to_servers;

/// The header with a mark in each request, by which an application that shows its headers is recognized.
const MARK: &str = "X-Realmgate-Doctor";

/// A server, and a path on it.
pub(super) struct Site {
    host: String,
    port: u16,
    /// Host and port as the URL has them.
    pub(super) authority: String,
    /// Path and query.
    pub(super) path: String,
    tls: Option<Arc<ClientConfig>>,
}

/// A request. The header `Host` and those that every request has are added.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    /// Complete header lines.
    pub(super) fields: &'a str,
}

/// A response, with the marks of the request.
pub(super) struct Received {
    pub(super) reply: Reply,
    mark: String,
}

impl Site {
    /// Reads a URL.
    ///
    /// # Errors
    /// It is no `http://` or `https://` URL with a host. The error says what is expected.
    pub(super) fn new(url: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a URL such as https://app.example.org/page";
        let uri: Uri = url.parse().map_err(|_| EXPECTED)?;
        let authority = uri.authority().ok_or(EXPECTED)?;
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => Some(Arc::new(to_servers())),
            _ => return Err(EXPECTED),
        };
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(EXPECTED);
        }
        let port = if tls.is_some() { 443 } else { 80 };
        let path = uri.path_and_query().map_or("/", |it| it.as_str());
        Ok(Self {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(port),
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
            tls,
        })
    }

    /// Returns whether tokens are encrypted on their way, or do not leave the machine.
    pub(super) fn is_private(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        let is_loopback = host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
        self.tls.is_some() || is_loopback || host.eq_ignore_ascii_case("localhost")
    }

    /// Returns whether requests are sent over TLS.
    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Sends a GET request for the path of the URL.
    ///
    /// # Errors
    /// There is no response.
    pub(super) fn get(&self, fields: &str) -> io::Result<Received> {
        self.send(&Asked {
            method: "GET",
            target: &self.path,
            fields,
        })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// There is no response.
    pub(super) fn send(&self, asked: &Asked<'_>) -> io::Result<Received> {
        let mark = mark()?;
        let Asked {
            method,
            target,
            fields,
        } = asked;
        let host = &self.authority;
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: realmgate-doctor\r\n\
             {MARK}: {mark}\r\n{fields}\r\n"
        );
        let reply = wire::send(
            (&self.host, self.port),
            self.tls.as_ref(),
            request.as_bytes(),
        )?;
        Ok(Received { reply, mark })
    }
}

impl Received {
    /// Returns whether the application shows the headers of this request.
    pub(super) fn is_shown(&self) -> bool {
        self.reply.text.contains(&self.mark)
    }

    /// Returns whether the request reached the application: it shows the request, or the status is 2xx.
    pub(super) fn has_passed(&self) -> bool {
        self.is_shown() || (200..300).contains(&self.reply.status)
    }
}

/// Returns a text that appears nowhere else by chance.
///
/// # Errors
/// The system has no random bytes.
pub(super) fn mark() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("doctor{}", HEXLOWER.encode(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_a_host_are_read() {
        let site = Site::new("https://app.example:8443/a?b").ok().unwrap();
        assert_eq!(
            (&*site.host, site.port, &*site.path),
            ("app.example", 8443, "/a?b")
        );
        assert!(site.is_private());
        assert!(!Site::new("http://app.example").ok().unwrap().is_private());
        for local in [
            "http://127.0.0.1:8088/",
            "http://[::1]/",
            "http://localhost/x",
        ] {
            assert!(Site::new(local).ok().unwrap().is_private(), "{local}");
        }
        for wrong in [
            "",
            "/x",
            "app.example/x",
            "ftp://a/",
            "http://u:p@a/",
            "http://",
        ] {
            assert!(Site::new(wrong).is_err(), "{wrong}");
        }
    }
}
