use std::fmt;

use super::principal::{PrincipalError, PrincipalRef};

/// The code that a caller presents. Only its length has been checked.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    text: &'a str,
    form: Form,
}

/// The form in which a token was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A string: every digit counts.
    Text,
    /// A number: it has lost the leading zeros of the token.
    Number,
}

impl<'a> Token<'a> {
    /// The maximum length in characters, as in ungleich-otp. A longer token is rejected without
    /// being evaluated.
    pub const MAX_CHARS: usize = 128;

    /// Wraps a string of 1 to [`Token::MAX_CHARS`] characters.
    ///
    /// # Errors
    /// [`Flaw::Token`] if the string is empty or longer.
    pub fn new(text: &'a str) -> Result<Self, Flaw> {
        // A character has at least one byte, so only a longer text needs to be counted.
        let is_long = text.len() > Self::MAX_CHARS && text.chars().nth(Self::MAX_CHARS).is_some();
        if text.is_empty() || is_long {
            return Err(Flaw::Token);
        }
        Ok(Self::unbounded(text))
    }

    /// Wraps the decimal digits of a number. Leading zeros are ignored in the comparison, because
    /// only the identity knows how many digits its tokens have.
    ///
    /// # Errors
    /// [`Flaw::Token`] if the string is empty or longer than [`Token::MAX_CHARS`].
    pub fn number(digits: &'a str) -> Result<Self, Flaw> {
        let form = Form::Number;
        Ok(Self {
            form,
            ..Self::new(digits)?
        })
    }

    /// Wraps a string of any length.
    pub(super) fn unbounded(text: &'a str) -> Self {
        let form = Form::Text;
        Self { text, form }
    }

    /// Returns the token as sent. It is a secret: never log it.
    pub fn expose(self) -> &'a str {
        self.text
    }

    /// Returns whether leading zeros may be missing.
    pub(super) fn is_number(self) -> bool {
        self.form == Form::Number
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A name, a realm and the token that should prove them.
#[derive(Clone, Copy, Debug)]
pub struct Credential<'a> {
    principal: PrincipalRef<'a>,
    token: Token<'a>,
    is_one_time: bool,
}

impl<'a> Credential<'a> {
    /// Makes a credential. `limit` is the maximum number of characters of a name and of a realm.
    ///
    /// # Errors
    /// [`Flaw::Principal`] or [`Flaw::Token`] if a part is invalid.
    pub fn new(name: &'a str, realm: &'a str, token: &'a str, limit: usize) -> Result<Self, Flaw> {
        let principal = PrincipalRef::new(name, realm, limit)?;
        Ok(Self {
            principal,
            token: Token::new(token)?,
            is_one_time: false,
        })
    }

    /// Makes a credential with a token that has already been read.
    ///
    /// # Errors
    /// [`Flaw::Principal`] if the name or the realm is invalid.
    pub fn with_token(
        name: &'a str,
        realm: &'a str,
        token: Token<'a>,
        limit: usize,
    ) -> Result<Self, Flaw> {
        let principal = PrincipalRef::new(name, realm, limit)?;
        Ok(Self {
            principal,
            token,
            is_one_time: false,
        })
    }

    /// Makes the token count once, also in a realm where tokens may be used again.
    #[must_use]
    pub fn one_time(self) -> Self {
        Self {
            is_one_time: true,
            ..self
        }
    }

    /// Returns whether the token counts once whatever the realm.
    pub(super) fn is_one_time(&self) -> bool {
        self.is_one_time
    }

    /// Returns the claimed principal.
    pub fn principal(&self) -> PrincipalRef<'a> {
        self.principal
    }

    /// Returns the token.
    pub fn token(&self) -> Token<'a> {
        self.token
    }
}

/// The credential of a request, or why it has none.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// The request has no credential.
    Absent,
    /// The request has an invalid credential, part of one, or several.
    Malformed(Flaw),
    /// The request has exactly one credential.
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

/// Why a request has no valid credential. For the log only; the response does not reveal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A header or field of the credential occurs twice.
    Duplicate,
    /// The request has credentials of two kinds.
    TwoKinds,
    /// The name, the realm or the token is missing.
    Partial,
    /// The value is not UTF-8, or not in the encoding of its scheme.
    Encoding,
    /// The user of `Authorization: Basic` has no `@`.
    NoRealm,
    /// The name or the realm is invalid.
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
            Self::Duplicate => f.write_str("a credential header or field occurs twice"),
            Self::TwoKinds => f.write_str("the request has credentials of two kinds"),
            Self::Partial => f.write_str("the name, the realm or the token is missing"),
            Self::Encoding => f.write_str("the encoding is invalid"),
            Self::NoRealm => f.write_str("the user is not name@realm"),
            Self::Principal(error) => error.fmt(f),
            Self::Token => f.write_str("the token is empty or too long"),
        }
    }
}

/// Splits `name@realm` at the last `@`: a name may contain `@`, but a realm in this form may not.
///
/// # Errors
/// [`Flaw::NoRealm`] if there is no `@`.
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
            r#"Credential { principal: "n"@"r", token: [redacted], is_one_time: false }"#
        );
    }
}
