//! `[admin]`.

use std::net::SocketAddr;

use http::uri::{Scheme, Uri};
use toml::Spanned;

use super::raw;
use super::source::{Checked, Source};
use super::tls::{Tls, Transport};

/// `[admin]`: the listener of the admin page.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `None` for `"off"`, the default. Port 0 lets the system choose.
    pub listen: Option<SocketAddr>,
    /// The origin under which browsers reach it, such as `https://admin.example.org`. By default
    /// that of `listen`, which is then a loopback address.
    pub origin: Option<String>,
    /// TLS.
    pub transport: Transport,
}

impl Source<'_> {
    pub(super) fn admin(
        &self,
        raw: &raw::Admin,
        listen: Checked<Option<SocketAddr>>,
        tls: Option<&Tls>,
    ) -> Checked<Admin> {
        let transport = raw::Transport {
            tls: raw.tls.as_ref(),
            client_certificates: raw.client_certificates.as_ref(),
            h2c: None,
            proxy_protocol: None,
        };
        let transport = self.transport("admin", &transport, tls);
        let origin = raw.origin.as_ref().map(|raw| self.origin(raw)).transpose();
        if let (Ok(Some(listen)), Some(set), None) = (listen, &raw.listen, &raw.origin)
            && !listen.ip().is_loopback()
        {
            let expected = "a loopback address, or admin.origin = \"https://…\" as well, where browsers reach it";
            self.reject("admin.listen", set, expected);
        }
        let (listen, origin, transport) = (listen?, origin?, transport?);
        if let (Some(text), Some(set)) = (&origin, &raw.origin)
            && text.starts_with("http:")
            && (transport.tls || listen.is_some_and(|it| !it.ip().is_loopback()))
        {
            let expected = "an origin that begins with https:// unless listener and browser are on one machine";
            self.reject("admin.origin", set, expected);
        }
        Ok(Admin {
            listen,
            origin,
            transport,
        })
    }

    /// Checks an origin: scheme, host and port in the form in which browsers send it.
    fn origin(&self, raw: &Spanned<String>) -> Checked<String> {
        let text = raw.get_ref();
        let parsed: Option<Uri> = text.parse().ok();
        let is_origin = parsed.is_some_and(|uri| {
            let scheme = uri.scheme();
            let default = match scheme {
                Some(it) if *it == Scheme::HTTP => Some(80),
                Some(it) if *it == Scheme::HTTPS => Some(443),
                _ => return false,
            };
            let authority = uri.authority().map_or("", |it| it.as_str());
            let name = scheme.map_or("", Scheme::as_str);
            format!("{name}://{authority}") == *text
                && !authority.contains('@')
                && !authority.is_empty()
                && *text == text.to_ascii_lowercase()
                && uri.port_u16() != default
        });
        match is_origin {
            true => Ok(text.clone()),
            false => {
                let expected = "an origin in lower case without the default port or a path, such as \
                                \"https://admin.example.org\"";
                Err(self.reject("admin.origin", raw, expected))
            }
        }
    }
}
