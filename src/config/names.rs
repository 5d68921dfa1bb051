//! Header names that have a meaning, and checks of configured names.

use http::HeaderName;

use super::HeaderRules;
use super::raw::{List, Opt};
use super::source::{Checked, Source};
use crate::http::reserved::{folded, has_mark, is_address, is_identity, is_server_variable};
use crate::http::{IdentityHeaders, is_removed};

/// The maximum number of `alias_headers`.
const ALIASES: usize = 32;

/// Headers with a meaning in HTTP.
const TAKEN: [&str; 23] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "www-authenticate",
];

/// Headers that frame a message, or that concern a single connection.
const FRAMING: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// The maximum number of `pass_headers`.
const ADDRESS_HEADERS: usize = 8;

/// Returns whether a header cannot carry a credential: it has another meaning, or realmgate removes
/// it, or an application server may read it as a variable. The identity headers of other gateways
/// are allowed, because realmgate then sets the identity under their names.
pub(super) fn is_taken(name: &HeaderName) -> bool {
    let folded = folded(name.as_str());
    TAKEN.contains(&&*folded)
        || (is_removed(&folded) && !is_identity(&folded))
        || is_variable(name, &folded)
}

/// Returns whether a front proxy may name its client in a header: it has no other meaning, and no
/// syntax of its own as `Forwarded` has (RFC 7239).
pub(super) fn may_hold_an_address(name: &HeaderName) -> bool {
    let folded = folded(name.as_str());
    !TAKEN.contains(&&*folded) && !is_variable(name, &folded) && folded != "forwarded"
}

/// Returns whether an application server may read a header as one of its own variables.
pub(super) fn is_variable(name: &HeaderName, folded: &str) -> bool {
    has_mark(name.as_str()) && is_server_variable(folded)
}

/// Returns whether a header frames a message. The name must be folded.
pub(super) fn is_framing(name: &str) -> bool {
    FRAMING.contains(&name)
}

/// Checks `alias_headers`. `set` contains the headers that the route sets.
pub(super) fn aliases(
    source: &Source<'_>,
    identity: &IdentityHeaders,
    key: &str,
    raw: &Opt<List>,
    set: &HeaderRules,
) -> Checked<Vec<HeaderName>> {
    let mut passing = Vec::new();
    let Some(raw) = raw else {
        return Ok(passing);
    };
    if raw.get_ref().len() > ALIASES {
        let shown = format!("{} names", raw.get_ref().len());
        return Err(source.refuse_as(key, shown, raw.span(), format!("at most {ALIASES} names")));
    }
    let mut refused = None;
    for (at, raw) in raw.get_ref().iter().enumerate() {
        let mut refuse = |expected: &str| {
            refused = Some(source.refuse(&format!("{key}[{at}]"), raw, expected));
        };
        let Ok(name) = HeaderName::from_bytes(raw.get_ref().as_bytes()) else {
            refuse("the name of a header");
            continue;
        };
        if !has_mark(name.as_str()) {
            refuse(
                r#"a name with "_" or another character besides letters, digits and "-"; all others pass anyway"#,
            );
            continue;
        }
        if is_meant(&name, identity) {
            refuse(
                "a name that, with \"-\" in place of \"_\" and similar characters, is no header of HTTP or realmgate, and no variable of an application server",
            );
            continue;
        }
        if set.set.iter().any(|(set, _)| is_alike(set, &name)) {
            refuse("a name that does not resemble one that request_headers sets");
            continue;
        }
        if passing.contains(&name) {
            refuse("each name once");
            continue;
        }
        passing.push(name);
    }
    refused.map_or(Ok(passing), Err)
}

/// Checks `pass_headers`.
pub(super) fn addresses(
    source: &Source<'_>,
    key: &str,
    raw: &Opt<List>,
) -> Checked<Vec<HeaderName>> {
    let mut passing = Vec::new();
    let Some(raw) = raw else {
        return Ok(passing);
    };
    if raw.get_ref().len() > ADDRESS_HEADERS {
        let shown = format!("{} names", raw.get_ref().len());
        let expected = format!("at most {ADDRESS_HEADERS} names");
        return Err(source.refuse_as(key, shown, raw.span(), expected));
    }
    let mut refused = None;
    for (at, raw) in raw.get_ref().iter().enumerate() {
        let mut refuse = |expected: &str| {
            refused = Some(source.refuse(&format!("{key}[{at}]"), raw, expected));
        };
        let name = HeaderName::from_bytes(raw.get_ref().as_bytes());
        let Some(name) = name.ok().filter(|name| is_address(name.as_str())) else {
            refuse(
                r#"a header in which a CDN names the client's address, such as "CF-Connecting-IP", and which realmgate does not set itself"#,
            );
            continue;
        };
        if passing.contains(&name) {
            refuse("each name once");
            continue;
        }
        passing.push(name);
    }
    refused.map_or(Ok(passing), Err)
}

fn is_meant(name: &HeaderName, identity: &IdentityHeaders) -> bool {
    let folded = folded(name.as_str());
    identity.is_reserved(name)
        || IdentityHeaders::is_method_override(name)
        || is_framing(&folded)
        || TAKEN.contains(&&*folded)
        || is_server_variable(&folded)
}

fn is_alike(one: &HeaderName, other: &HeaderName) -> bool {
    folded(one.as_str()) == folded(other.as_str())
}
