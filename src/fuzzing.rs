//! Properties of the parsers: each function takes untrusted bytes, and panics if a property is
//! violated.
//!
//! The programs in `fuzz/` call them, and a test runs the corpora. They are compiled for these two
//! only, and are not in releases.

#[cfg(test)]
mod corpus;

use crate::client::Credential;
use crate::config::{Config, ConfigError, PathPattern};

pub use crate::doors::api::fuzzing::rest_body;
pub use crate::doors::fuzzing::{check, forward_auth, forwarded, header, proxy_protocol, target};
pub use crate::doors::v1::fuzzing::v1;
pub use crate::http::fuzzing::credential;

/// Parses an `otpauth://` URL.
///
/// # Panics
/// A credential of it makes a token that is none, or an error message contains the secret.
pub fn otpauth(data: &[u8]) {
    let Ok(url) = str::from_utf8(data) else {
        return;
    };
    match Credential::from_otpauth(url) {
        Ok(credential) => {
            let token = credential.token();
            assert!((6..=8).contains(&token.len()));
            assert!(token.bytes().all(|byte| byte.is_ascii_digit()));
            assert!(!credential.name().is_empty() && !credential.realm().is_empty());
            assert!(credential.authorization().is_sensitive());
        }
        Err(error) => {
            let message = format!("{error} {error:?}");
            let secret = url.split_once("secret=").map_or("", |(_, rest)| rest);
            let secret = secret.split('&').next().unwrap_or_default();
            // Shorter texts may be words of the message.
            assert!(secret.len() < 16 || !message.contains(secret), "{message}");
        }
    }
}

/// Parses a configuration.
///
/// # Panics
/// A configuration is accepted that the rest of the program does not expect, or an error message
/// has more than one line.
pub fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    // It would read the certificate files, and a device may have no end.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    let config = match Config::parse(text, "fuzzed", []) {
        Ok(config) => config,
        Err(error) => {
            let mistakes = match &error {
                ConfigError::Mistakes(mistakes) => mistakes.first(),
                ConfigError::Unreadable(..) => &[],
            };
            assert!(!mistakes.is_empty(), "{error}");
            for mistake in mistakes {
                let message = mistake.to_string();
                assert!(!message.chars().any(char::is_control), "{message:?}");
            }
            return;
        }
    };
    assert_ne!(config.realms.admin(), config.realms.auth());
    assert!(config.totp.window <= 10);
    let fields = &config.credential_headers;
    assert!(fields.name != fields.realm && fields.name != fields.token);
    assert!(fields.realm != fields.token);
    assert!((1..=128).contains(&fields.name_chars));
    let (service, gateway) = (config.service.listen, config.gateway.listen);
    assert!(gateway != Some(service) || service.port() == 0);
    assert!(config.throttle.failures >= 1 && config.throttle.source_failures >= 1);
    for (at, route) in config.routes.iter().enumerate() {
        match route.upstream {
            Some(upstream) => assert!(config.upstreams.get(upstream).is_some()),
            None => assert!(gateway.is_none()),
        }
        assert!(
            config
                .routes
                .iter()
                .take(at)
                .all(|it| it.name != route.name)
        );
        let mut paths = route.paths.iter().flat_map(PathPattern::segments);
        assert!(
            paths.all(|segment| !segment.is_empty() && (segment == "*" || !segment.contains('*')))
        );
        assert!(
            route
                .methods
                .as_ref()
                .is_none_or(|methods| !methods.is_empty())
        );
    }
    assert!(config.upstreams.iter().all(|it| !it.peers.is_empty()));
}
