//! What every door shares about header fields: the credential that comes in ([`credential`]), and the
//! identity that goes out ([`identity`]); and the trace that passes through ([`trace`]).

mod credential;
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod trace;

pub use credential::{CredentialHeaders, Scratch};
pub use identity::{
    IdentityHeaders, X_CLIENT_SUBJECT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PREFIX,
    X_FORWARDED_PROTO, X_REQUEST_ID, encode,
};
pub use trace::{TRACEPARENT, TRACESTATE, Trace, is_state};
