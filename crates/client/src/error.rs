use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

/// Why a request failed.
#[derive(Debug, Error)]
pub enum Error {
    /// A credential was rejected.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The caller is authenticated, but not allowed to do this.
    #[error("{caller} may not do this")]
    NotAllowed {
        /// `name@realm` of the caller.
        caller: String,
    },
    /// There is no such identity.
    #[error("no identity {}@{}", name.escape_debug(), realm.escape_debug())]
    NotFound {
        /// The name.
        name: String,
        /// The realm.
        realm: String,
    },
    /// The server does not return the id of the identity, so a request cannot address it.
    #[error(
        "the server does not return the id of {}@{}, so it cannot be addressed", name.escape_debug(), realm.escape_debug()
    )]
    NoNumber {
        /// The name.
        name: String,
        /// The realm.
        realm: String,
    },
    /// The server rejected a value; holds its message.
    #[error("the server rejected the request: {0}")]
    Invalid(String),
    /// The connection could not be made.
    #[error("{server} cannot be reached")]
    Unreachable {
        /// Scheme, host and port.
        server: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The response was not complete within the limit.
    #[error("{server} did not answer within {} s", after.as_secs_f32())]
    Timeout {
        /// Scheme, host and port.
        server: String,
        /// The limit.
        after: Duration,
    },
    /// The connection closed early. The server may or may not have carried out the request.
    #[error("the connection to {server} closed before the response was complete")]
    Broken {
        /// Scheme, host and port.
        server: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server returned 503.
    #[error("the server is unavailable (503)")]
    Unavailable,
    /// No ungleich-otp server gives this response to this request.
    #[error("not a response of an ungleich-otp server: {status}, {found}")]
    Unexpected {
        /// The status of the response.
        status: StatusCode,
        /// The `Content-Type` and the mistake in the body. Never contains a value from the body.
        found: String,
    },
}

/// Which credential was rejected.
#[derive(Debug, Error)]
pub enum Rejected {
    /// The caller's credential.
    #[error("the credential of the caller {caller} was rejected{}", hints(*clock, *retry_after))]
    Caller {
        /// `name@realm` of the caller.
        caller: String,
        /// The clock here minus the server's, in seconds, if the response has a Date header.
        clock: Option<i64>,
        /// The time until the next try, from the Retry-After header.
        retry_after: Option<Duration>,
    },
    /// The credential of the principal to be verified.
    #[error("the credential of {name}@{realm} was rejected; the caller's was accepted")]
    Subject {
        /// The name.
        name: String,
        /// The realm.
        realm: String,
    },
    /// Either of the two. The server does not say which, and the caller's token was not accepted
    /// again to find out.
    #[error("the credential of {subject} was rejected, or {caller} may not verify")]
    Either {
        /// `name@realm` of the caller.
        caller: String,
        /// `name@realm` of the subject.
        subject: String,
    },
}

/// The minimum clock difference in seconds that is mentioned as a possible cause.
const NOTABLE: u64 = 15;

fn hints(clock: Option<i64>, retry_after: Option<Duration>) -> String {
    let mut hints = String::new();
    if let Some(wait) = retry_after {
        hints.push_str(&format!(": try again in {} s", wait.as_secs()));
    }
    if let Some(ahead) = clock.filter(|ahead| ahead.unsigned_abs() >= NOTABLE) {
        let word = if ahead > 0 { "ahead of" } else { "behind" };
        let seconds = ahead.unsigned_abs();
        hints.push_str(&format!(
            ": the clock here is {seconds} s {word} the server's"
        ));
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejection_of_the_caller_says_what_may_be_wrong() {
        let rejected = |clock, retry_after| {
            Rejected::Caller {
                caller: "a@b".into(),
                clock,
                retry_after,
            }
            .to_string()
        };
        let plain = "the credential of the caller a@b was rejected";
        assert_eq!(rejected(None, None), plain);
        assert_eq!(rejected(Some(14), None), plain);
        assert_eq!(
            rejected(Some(-60), None),
            format!("{plain}: the clock here is 60 s behind the server's")
        );
        assert_eq!(
            rejected(None, Some(Duration::from_secs(8))),
            format!("{plain}: try again in 8 s")
        );
    }
}
