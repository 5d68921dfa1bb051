//! Headers and responses that all doors share: credentials in requests ([`credential`]), identity
//! for upstreams ([`identity`]), headers that clients must not send ([`reserved`], [`lookup`]),
//! caching of responses ([`caching`]), and trace context ([`trace`]).

mod caching;
mod credential;
mod denials;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub(crate) mod grpc;
mod identity;
mod identity_names;
mod lookup;
mod malformed;
pub(crate) mod own_paths;
pub(crate) mod own_response;
mod problems;
pub(crate) mod rejection;
pub(crate) mod request_id;
pub mod reserved;
pub(crate) mod session_cookie;
mod trace;

pub(crate) use caching::is_targeted;
pub use caching::{privatize, targeted};
pub use credential::{CredentialHeaders, Scratch};
pub use denials::{Challenge, DEFAULT_REALM, Denials};
pub use identity::{
    IdentityHeaders, X_CLIENT_SUBJECT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PREFIX,
    X_FORWARDED_PROTO, X_REQUEST_ID, encode,
};
pub use identity_names::{IdentityNames, IdentityOf};
pub(crate) use lookup::is_removed;
#[cfg(test)]
pub(crate) use problems::of_denial as problem_of_denial;
pub use trace::{TRACEPARENT, TRACESTATE, Trace, is_state};

/// Names and realms that are easily confused.
#[cfg(test)]
pub(crate) fn tricky() -> impl proptest::strategy::Strategy<Value = (String, String)> {
    let part = "[ab@:%/\\\\\"é\u{ff}\u{1}2F4]{1,4}";
    (part, part)
}
