//! `[credentials]`.

use http::HeaderName;
use toml::Spanned;

use super::names;
use super::raw::{self, Opt};
use super::source::{Checked, Source};
use crate::auth::NAME_CHARS;
use crate::http::CredentialHeaders;
use crate::http::reserved::folded;

/// The default headers of a credential.
pub(super) fn default_headers() -> CredentialHeaders {
    CredentialHeaders {
        name: HeaderName::from_static("x-auth-name"),
        realm: HeaderName::from_static("x-auth-realm"),
        token: HeaderName::from_static("x-auth-token"),
        name_chars: NAME_CHARS,
    }
}

impl Source<'_> {
    pub(super) fn credentials(&self, raw: &raw::Credentials) -> Checked<CredentialHeaders> {
        let default = default_headers();
        let fields = [
            ("credentials.name_header", &raw.name_header, default.name),
            ("credentials.realm_header", &raw.realm_header, default.realm),
            ("credentials.token_header", &raw.token_header, default.token),
        ];
        let field = |(key, raw, default): &(&str, &Opt<String>, HeaderName)| match raw {
            Some(raw) => self.field(key, raw),
            None => Ok(default.clone()),
        };
        let name_chars = raw.name_chars.as_ref();
        let name_chars = self.number("credentials.name_chars", name_chars, NAME_CHARS, 1..=128);
        let [name, realm, token] = fields.each_ref().map(field);
        let headers = CredentialHeaders {
            name: name?,
            realm: realm?,
            token: token?,
            name_chars,
        };
        let names = [&headers.name, &headers.realm, &headers.token];
        let [name, realm, token] = names.map(|name| folded(name.as_str()));
        for ((key, raw, _), is_again) in fields.iter().zip([
            name == realm || name == token,
            realm == name || realm == token,
            token == name || token == realm,
        ]) {
            if let Some(raw) = raw
                && is_again
            {
                let expected = "a header of its own, every mark counting as \"-\"";
                return Err(self.reject(key, raw, expected));
            }
        }
        Ok(headers)
    }

    fn field(&self, key: &str, raw: &Spanned<String>) -> Checked<HeaderName> {
        let Ok(field) = HeaderName::from_bytes(raw.get_ref().as_bytes()) else {
            return Err(self.reject(key, raw, "the name of a header"));
        };
        if names::is_taken(&field) {
            return Err(self.reject(key, raw, "a header without another meaning"));
        }
        Ok(field)
    }
}
