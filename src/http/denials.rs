use http::{HeaderName, HeaderValue};

/// How a route responds to the requests that it denies. Statuses and reasons stay the same, and nothing
/// depends on the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denials {
    /// The `WWW-Authenticate` of a 401.
    pub challenge: Challenge,
    /// Whether realmgate's own responses of the route have a problem document (RFC 9457) instead of a
    /// line of text.
    pub is_json: bool,
    /// Headers of denials, at most 32, each once. None of them is one that realmgate sets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The challenge of a 401.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Challenge {
    /// Basic with the realm `realmgate`.
    #[default]
    Default,
    /// None, so that browsers do not ask for a password.
    None,
    /// This one.
    As(HeaderValue),
}
