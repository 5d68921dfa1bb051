use http::{HeaderName, HeaderValue};

/// The realm of the challenge by default.
pub const DEFAULT_REALM: &str = "realmgate";

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

impl Denials {
    /// Returns the value of `errors`.
    pub const fn errors(&self) -> &'static str {
        match self.is_json {
            true => "json",
            false => "text",
        }
    }
}

impl Challenge {
    /// Returns the value of `challenge`: the realm, or "none".
    pub fn realm(&self) -> &str {
        match self {
            Self::Default => DEFAULT_REALM,
            Self::None => "none",
            Self::As(value) => {
                let parts = value.to_str().ok().and_then(|text| text.split('"').nth(1));
                parts.unwrap_or_default()
            }
        }
    }
}
