use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

/// Why a request did not do what it should.
#[derive(Debug, Error)]
pub enum Error {
    /// A credential was refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The caller proved who they are, and may not do this.
    #[error("{caller} may not do this")]
    NotAllowed {
        /// `name@realm` of the caller.
        caller: String,
    },
    /// No such identity.
    #[error("no identity {name:?} in realm {realm:?}")]
    NotFound {
        /// The name.
        name: String,
        /// The realm.
        realm: String,
    },
    /// The server does not tell the number of an identity, by which it would be asked for.
    #[error(
        "the server does not return the id of {name:?} in realm {realm:?}, so it cannot be addressed"
    )]
    NoNumber {
        /// The name.
        name: String,
        /// The realm.
        realm: String,
    },
    /// The server does not take what was given; its own words.
    #[error("the server rejected the request: {0}")]
    Invalid(String),
    /// No connection could be made.
    #[error("{server} cannot be reached")]
    Unreachable {
        /// Scheme, host and port.
        server: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer did not come in time.
    #[error("{server} did not answer within {} s", after.as_secs_f32())]
    Timeout {
        /// Scheme, host and port.
        server: String,
        /// The limit.
        after: Duration,
    },
    /// The connection broke. Whether the server did what was asked is not known.
    #[error("the connection to {server} closed before the response was complete")]
    Broken {
        /// Scheme, host and port.
        server: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server cannot answer now (503).
    #[error("the server is unavailable (503)")]
    Unavailable,
    /// The answer is none that an ungleich-otp server gives to this request.
    #[error("not a response of an ungleich-otp server: {status}, {found}")]
    Unexpected {
        /// Its status.
        status: StatusCode,
        /// Its `Content-Type` and what is wrong with its body, without a value of the body's.
        found: String,
    },
}

/// Whose credential was refused.
#[derive(Debug, Error)]
pub enum Refused {
    /// The caller's.
    #[error("the credential of the caller {caller} was rejected{}", hints(*clock, *retry_after))]
    Caller {
        /// `name@realm` of the caller.
        caller: String,
        /// By how many seconds the clock here is ahead of the server's, if it says.
        clock: Option<i64>,
        /// How long to wait before the next try, if the server says.
        retry_after: Option<Duration>,
    },
    /// That of the principal which should have been verified.
    #[error("the credential of {name}@{realm} was rejected; the caller's was accepted")]
    Subject {
        /// The name.
        name: String,
        /// The realm.
        realm: String,
    },
    /// One of the two: the server does not say, and the caller's token did not count a second time.
    #[error("the credential of {subject} was rejected, or {caller} may not verify")]
    Either {
        /// `name@realm` of the caller.
        caller: String,
        /// `name@realm` of the subject.
        subject: String,
    },
}

/// The difference of clocks, in seconds, from which on it may be why a token was refused.
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
    fn refusal_of_the_caller_says_what_may_be_wrong() {
        let refused = |clock, retry_after| {
            Refused::Caller {
                caller: "a@b".into(),
                clock,
                retry_after,
            }
            .to_string()
        };
        let plain = "the credential of the caller a@b was rejected";
        assert_eq!(refused(None, None), plain);
        assert_eq!(refused(Some(14), None), plain);
        assert_eq!(
            refused(Some(-60), None),
            format!("{plain}: the clock here is 60 s behind the server's")
        );
        assert_eq!(
            refused(None, Some(Duration::from_secs(8))),
            format!("{plain}: try again in 8 s")
        );
    }
}
