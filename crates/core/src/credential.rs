use std::fmt;

use super::principal::{PrincipalError, PrincipalRef};

/// The code a caller presents, as it came: nothing about it has been checked but its length.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    text: &'a str,
    form: Form,
}

/// How a token was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As a text: every digit counts.
    Text,
    /// As a number, without the zeros that the token begins with.
    Number,
}

impl<'a> Token<'a> {
    /// Longer ones are refused before they are looked at, as the old server did.
    pub const MAX_CHARS: usize = 128;

    /// Wraps a text of 1 to [`Token::MAX_CHARS`] characters.
    ///
    /// # Errors
    /// An empty or longer text.
    pub fn new(text: &'a str) -> Result<Self, Flaw> {
        if text.is_empty() || text.chars().nth(Self::MAX_CHARS).is_some() {
            return Err(Flaw::Token);
        }
        Ok(Self::unbounded(text))
    }

    /// Wraps the decimal digits of a number. It stands for the token of that value, however many zeros that
    /// begins with: only the identity says how many digits its tokens have.
    ///
    /// # Errors
    /// An empty or longer text.
    pub fn number(digits: &'a str) -> Result<Self, Flaw> {
        let form = Form::Number;
        Ok(Self {
            form,
            ..Self::new(digits)?
        })
    }

    /// Wraps a text of any length.
    pub(super) fn unbounded(text: &'a str) -> Self {
        let form = Form::Text;
        Self { text, form }
    }

    /// Returns the text.
    pub fn expose(self) -> &'a str {
        self.text
    }

    /// Says whether it may have lost zeros at its beginning.
    pub(super) fn is_number(self) -> bool {
        self.form == Form::Number
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Who a caller says they are, and the token that should prove it.
#[derive(Clone, Copy, Debug)]
pub struct Credential<'a> {
    principal: PrincipalRef<'a>,
    token: Token<'a>,
}

impl<'a> Credential<'a> {
    /// Joins the three parts; `limit` is the most characters of a name and of a realm.
    ///
    /// # Errors
    /// A part that cannot be one.
    pub fn new(name: &'a str, realm: &'a str, token: &'a str, limit: usize) -> Result<Self, Flaw> {
        let principal = PrincipalRef::new(name, realm, limit)?;
        let token = Token::new(token)?;
        Ok(Self { principal, token })
    }

    /// Joins a name and a realm with a token that has been read already.
    ///
    /// # Errors
    /// A name or a realm that cannot be one.
    pub fn with_token(
        name: &'a str,
        realm: &'a str,
        token: Token<'a>,
        limit: usize,
    ) -> Result<Self, Flaw> {
        let principal = PrincipalRef::new(name, realm, limit)?;
        Ok(Self { principal, token })
    }

    /// Returns who it claims.
    pub fn principal(&self) -> PrincipalRef<'a> {
        self.principal
    }

    /// Returns the token.
    pub fn token(&self) -> Token<'a> {
        self.token
    }
}

/// What a request presents. Anything that is not exactly one credential is none.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// Nothing of the kind.
    Absent,
    /// Something, but not exactly one credential.
    Malformed(Flaw),
    /// One credential.
    Credential(Credential<'a>),
}

impl<'a> From<Result<Credential<'a>, Flaw>> for Presented<'a> {
    fn from(read: Result<Credential<'a>, Flaw>) -> Self {
        match read {
            Ok(credential) => Self::Credential(credential),
            Err(flaw) => Self::Malformed(flaw),
        }
    }
}

/// Why what was presented is no credential. For the log: the caller gets one vague answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The same field stands there twice.
    Duplicate,
    /// Two kinds of credential at once.
    TwoKinds,
    /// One or two of name, realm and token are missing.
    Partial,
    /// Not UTF-8, or not the encoding its scheme asks for.
    Encoding,
    /// The user of `Authorization: Basic` has no `@`.
    NoRealm,
    /// The name or the realm cannot be one.
    Principal(PrincipalError),
    /// The token is empty or longer than [`Token::MAX_CHARS`].
    Token,
}

impl From<PrincipalError> for Flaw {
    fn from(error: PrincipalError) -> Self {
        Self::Principal(error)
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate => f.write_str("a credential field stands there twice"),
            Self::TwoKinds => f.write_str("two kinds of credential at once"),
            Self::Partial => f.write_str("a part of name, realm and token is missing"),
            Self::Encoding => f.write_str("the encoding is broken"),
            Self::NoRealm => f.write_str("the user is not name@realm"),
            Self::Principal(error) => error.fmt(f),
            Self::Token => f.write_str("the token is empty or too long"),
        }
    }
}

/// Splits `name@realm` at the last `@`: a name may hold one, a realm presented this way may not.
///
/// # Errors
/// No `@`.
pub fn split_user(user: &str) -> Result<(&str, &str), Flaw> {
    user.rsplit_once('@').ok_or(Flaw::NoRealm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_split_at_the_last_at() {
        assert_eq!(split_user("a@b@c"), Ok(("a@b", "c")));
        assert_eq!(split_user("abc"), Err(Flaw::NoRealm));
    }

    #[test]
    fn token_has_1_to_128_characters() {
        assert!(Token::new("").is_err());
        assert!(Token::new(&"é".repeat(128)).is_ok());
        assert!(Token::new(&"é".repeat(129)).is_err());
    }

    #[test]
    fn debug_of_a_credential_shows_no_token() {
        let credential = Credential::new("n", "r", "canary", 128).unwrap();
        assert_eq!(
            format!("{credential:?}"),
            r#"Credential { principal: "n"@"r", token: [redacted] }"#
        );
    }
}
