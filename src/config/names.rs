//! Names of headers that mean something already.

use http::HeaderName;

use super::HeaderRules;
use super::raw::{List, Opt};
use super::source::{Checked, Source};
use crate::http::reserved::{folded, has_mark, is_address, is_identity, is_server_variable};
use crate::http::{IdentityHeaders, is_removed};

/// The most headers that may pass although their names hold a mark.
const ALIASES: usize = 32;

/// Headers that mean something else in HTTP.
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

/// Headers that frame a message, or that are about one connection.
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

/// The most address headers that may pass.
const ADDRESS_HEADERS: usize = 8;

/// Says whether a credential cannot come in a header: it means something else, or realmgate removes it, or
/// an application server may take it for a variable. The identity headers of other gateways are no such
/// headers: under such a name realmgate itself says who is calling.
pub(super) fn is_taken(name: &HeaderName) -> bool {
    let folded = folded(name.as_str());
    TAKEN.contains(&&*folded)
        || (is_removed(&folded) && !is_identity(&folded))
        || is_variable(name, &folded)
}

/// Says whether a front proxy may name its client in a header: it means nothing else, and has no syntax of its
/// own as `Forwarded` has (RFC 7239).
pub(super) fn may_hold_an_address(name: &HeaderName) -> bool {
    let folded = folded(name.as_str());
    !TAKEN.contains(&&*folded) && !is_variable(name, &folded) && folded != "forwarded"
}

/// Says whether an application server may take a header for a variable of its own.
pub(super) fn is_variable(name: &HeaderName, folded: &str) -> bool {
    has_mark(name.as_str()) && is_server_variable(folded)
}

/// Says whether a header frames a message. The name is folded.
pub(super) fn is_framing(name: &str) -> bool {
    FRAMING.contains(&name)
}

/// Checks the headers that go on although their names hold a mark; `set` is what the route sets.
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
            refuse(r#"a name with "_" or another mark than "-"; all others pass anyway"#);
            continue;
        }
        if is_meant(&name, identity) {
            refuse(
                "a name that, with \"-\" for each mark, is no header of HTTP's or realmgate's, and no variable of an application server",
            );
            continue;
        }
        if set.set.iter().any(|(set, _)| is_alike(set, &name)) {
            refuse("a name that is not like one that request_headers sets");
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

/// Checks the address headers of a CDN that go on.
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
