//! Checks how a route responds to the requests that it denies.

use http::HeaderName;
use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, DATE, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
};
use toml::Spanned;

use super::header_rules::header_rules;
use super::raw;
use super::source::{Checked, Source};
use crate::http::{Challenge, Denials, IdentityHeaders, is_targeted};

/// Headers that `denial_headers` cannot set: realmgate sets them, or the client would keep a state, or
/// they describe a body that realmgate writes.
const OURS: [HeaderName; 10] = [
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    DATE,
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-status-details-bin"),
    RETRY_AFTER,
    SET_COOKIE,
    WWW_AUTHENTICATE,
];

/// The maximum length of the realm of a challenge in bytes.
const REALM_BYTES: usize = 64;

/// Checks `challenge`, `errors` and `denial_headers` of the route with the dotted path `route`. `None`
/// if all of them have their defaults.
pub(super) fn denials(
    source: &Source<'_>,
    identity: &IdentityHeaders,
    route: &str,
    raw: &raw::Route,
) -> Checked<Option<Denials>> {
    let challenge = match &raw.challenge {
        None => Ok(Challenge::Default),
        Some(raw) => challenge(source, &format!("{route}.challenge"), raw),
    };
    let is_json = source.word(
        &format!("{route}.errors"),
        raw.errors.as_ref(),
        false,
        r#""text" or "json""#,
        |word| match word {
            "text" => Some(false),
            "json" => Some(true),
            _ => None,
        },
    );
    let headers = headers(source, identity, &format!("{route}.denial_headers"), raw);
    let denials = Denials {
        challenge: challenge?,
        is_json,
        headers: headers?,
    };
    Ok(Some(denials).filter(|denials| *denials != Denials::default()))
}

fn headers(
    source: &Source<'_>,
    identity: &IdentityHeaders,
    key: &str,
    raw: &raw::Route,
) -> Checked<Vec<(HeaderName, HeaderValue)>> {
    let raw = raw.denial_headers.as_ref();
    let rules = header_rules(source, identity, key.to_owned(), raw)?;
    let span = raw.map(Spanned::span).unwrap_or_default();
    if let Some(remove) = raw.and_then(|raw| raw.get_ref().0.remove.as_ref()) {
        let expected = "only set; realmgate's own responses have no headers to remove";
        let shown = source.shown(remove.span());
        return Err(source.reject_as(&format!("{key}.remove"), shown, remove.span(), expected));
    }
    let is_ours = |name: &HeaderName| OURS.contains(name) || is_targeted(name);
    match rules.set.iter().find(|(name, _)| is_ours(name)) {
        None => Ok(rules.set),
        Some((name, _)) => {
            let expected = "a header other than Set-Cookie, those that realmgate sets itself, and those that caches obey";
            let (key, shown) = (format!("{key}.set"), format!("{:?}", name.as_str()));
            Err(source.reject_as(&key, shown, span, expected))
        }
    }
}

fn challenge(source: &Source<'_>, key: &str, raw: &Spanned<String>) -> Checked<Challenge> {
    let text = raw.get_ref();
    if text == "none" {
        return Ok(Challenge::None);
    }
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let is_realm = (1..=REALM_BYTES).contains(&text.len())
        && text.trim() == text
        && text.bytes().all(is_plain);
    let value = HeaderValue::from_str(&format!("Basic realm=\"{text}\", charset=\"UTF-8\""));
    match value {
        // The same bytes as by default.
        Ok(_) if text == "realmgate" => Ok(Challenge::Default),
        Ok(value) if is_realm => Ok(Challenge::As(value)),
        _ => {
            let expected = format!(
                "\"none\", or a realm of 1 to {REALM_BYTES} visible ASCII characters and spaces, without \" and \\ and without a space at either end"
            );
            Err(source.reject(key, raw, expected))
        }
    }
}
