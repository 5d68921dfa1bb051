//! Properties that hold for any request headers.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::credential::{CredentialHeaders, Scratch};
use super::identity::{IdentityHeaders, encode};
use crate::auth::{Presented, PrincipalRef, Token};

/// The maximum number of headers per input, that of a listener.
const FIELDS: usize = 256;

/// The default headers of a credential.
pub(crate) fn names() -> CredentialHeaders {
    CredentialHeaders {
        name: HeaderName::from_static("x-auth-name"),
        realm: HeaderName::from_static("x-auth-realm"),
        token: HeaderName::from_static("x-auth-token"),
        name_chars: 128,
    }
}

/// Parses lines of `name: value`. Skips invalid ones.
pub(crate) fn fields(text: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in text.split(|&byte| byte == b'\n').take(FIELDS) {
        let Some(end) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(end);
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            fields.append(name, value);
        }
    }
    fields
}

/// Reads a credential from headers.
///
/// # Panics
/// A credential is found although the headers do not contain exactly one.
pub fn credential(data: &[u8]) {
    let headers = fields(data);
    let names = names();
    let mut scratch = Scratch::new();
    let Presented::Credential(credential) = names.read(&headers, &mut scratch) else {
        return;
    };
    let who = credential.principal();
    let token = credential.token().expose();
    assert!(PrincipalRef::new(who.name(), who.realm(), names.name_chars).is_ok());
    assert!(Token::new(token).is_ok());
    assert!(!format!("{credential:?}").contains(['\n', '\r']));

    let count = |name: &HeaderName| headers.get_all(name).iter().count();
    let counts = [&names.name, &names.realm, &names.token].map(count);
    if counts == [0; 3] {
        assert_eq!(count(&AUTHORIZATION), 1, "a credential out of nothing");
        assert!(CredentialHeaders::is_basic(&headers));
        // The last `@` separates name and realm.
        assert!(!who.realm().contains(['@', ':']) && !who.name().contains(':'));
    } else {
        assert_eq!(counts, [1; 3], "a field that is not there once");
        assert!(!CredentialHeaders::is_basic(&headers), "two kinds at once");
        let parts = [who.name(), who.realm(), token];
        for (name, part) in [&names.name, &names.realm, &names.token].iter().zip(parts) {
            let sent = headers.get(*name).map(HeaderValue::as_bytes);
            assert_eq!(sent, Some(part.as_bytes()));
        }
    }
    for part in [who.name(), who.realm()] {
        let encoded = encode(part);
        assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
        let decoded = percent_encoding::percent_decode_str(&encoded);
        assert_eq!(decoded.collect::<Vec<_>>(), part.as_bytes());
    }
}

/// Checks that no header remains that an upstream could take for one of realmgate's.
///
/// # Panics
/// One remains.
pub(crate) fn assert_stripped(headers: &HeaderMap, is_proved: bool) {
    let names = names();
    let identity = IdentityHeaders::new(&names);
    for name in headers.keys() {
        // The spelling that CGI and similar interfaces use.
        let folded: String = name
            .as_str()
            .chars()
            .map(|char| match char {
                'a'..='z' | '0'..='9' => char,
                _ => '-',
            })
            .collect();
        let is_ours = [
            "x-auth-name",
            "x-auth-realm",
            "x-auth-token",
            "x-request-id",
        ]
        .contains(&&*folded)
            || folded.starts_with("x-forwarded-")
            || [
                "x-client-subject",
                "cf-connecting-ip",
                "x-remote-user",
                "forwarded",
                "x-real-ip",
                "x-original-url",
            ]
            .contains(&&*folded);
        assert!(!is_ours, "{name} is left");
        assert!(!identity.is_reserved(name), "{name} is reserved");
        assert_eq!(folded, name.as_str(), "{name} is like another name");
    }
    assert!(!CredentialHeaders::holds_token(headers), "a token is left");
    assert!(!is_proved || !CredentialHeaders::is_basic(headers));
}
