//! Header names that have a meaning, and checks of configured names.

use http::HeaderName;

use crate::http::reserved::{folded, has_mark, is_identity, is_server_variable};
use crate::http::{IdentityHeaders, TRACEPARENT, TRACESTATE, is_removed};

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

/// Headers of responses and requests that servers and caches act on.
const ACTED_ON: [&str; 14] = [
    "age",
    "cache-control",
    "etag",
    "expires",
    "last-modified",
    "location",
    "pragma",
    "priority",
    "range",
    "refresh",
    "retry-after",
    "status",
    "vary",
    "x-sendfile",
];

/// How the names of further ones begin.
const ACTED_ON_FAMILIES: [&str; 7] = [
    "accept-",
    "access-control-",
    "content-",
    "grpc-",
    "if-",
    "sec-",
    "x-accel-",
];

/// Returns whether a header cannot carry a credential: it has another meaning, or realmgate removes
/// it, or an application server may read it as a variable. The identity headers of other gateways
/// are allowed, because realmgate then sets the identity under their names.
pub(super) fn is_taken(name: &HeaderName) -> bool {
    let folded = folded(name.as_str());
    TAKEN.contains(&&*folded)
        || (is_removed(&folded) && !is_identity(&folded))
        || is_variable(name, &folded)
}

/// Returns whether realmgate may name the caller in a header of an upstream's choice. `token` is the
/// header of the token.
pub(super) fn may_name_a_caller(name: &HeaderName, token: &HeaderName) -> bool {
    let text = name.as_str();
    !is_taken(name)
        && !ACTED_ON.contains(&text)
        && !ACTED_ON_FAMILIES
            .iter()
            .any(|family| text.starts_with(family))
        && !has_mark(text)
        && !is_framing(name.as_str())
        && !IdentityHeaders::is_method_override(name)
        && ![TRACEPARENT, TRACESTATE].contains(name)
        && folded(token.as_str()) != name.as_str()
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

/// Returns whether a header, with its name folded, has a meaning in HTTP, to realmgate or to an application server.
pub(super) fn is_meant(name: &HeaderName, identity: &IdentityHeaders) -> bool {
    let folded = folded(name.as_str());
    identity.is_reserved(name)
        || IdentityHeaders::is_method_override(name)
        || is_framing(&folded)
        || TAKEN.contains(&&*folded)
        || is_server_variable(&folded)
}
