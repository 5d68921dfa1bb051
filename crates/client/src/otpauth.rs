//! `otpauth://totp/` URLs, as `realmgate identity create` prints them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use realmgate_core::{Algorithm, Parameters, ParametersError, Seed, SeedError, Totp};
use thiserror::Error;
use zeroize::Zeroizing;

/// The maximum number of characters of a URL.
const MOST: usize = 4096;

const SCHEME: &str = "otpauth://";

/// The parts of a URL.
pub(super) struct Otpauth {
    /// Name and realm, if the label is `name@realm`, split at its last `@`.
    pub(super) principal: Option<(String, String)>,
    pub(super) totp: Totp,
}

/// Why a text is not an `otpauth://totp/` URL. Never contains the text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OtpauthError {
    /// More than 4096 characters.
    #[error("the otpauth URL is longer than {MOST} characters")]
    TooLong,
    /// Another scheme, or a type other than totp.
    #[error("the URL is no otpauth URL of the type totp")]
    Type,
    /// Invalid percent-encoding or UTF-8.
    #[error("the otpauth URL is not percent-encoded correctly")]
    Encoding,
    /// A parameter occurs twice.
    #[error("the otpauth URL has a parameter twice")]
    Twice,
    /// No parameter `secret`.
    #[error("the otpauth URL has no secret")]
    NoSecret,
    /// A parameter is not a number.
    #[error("the otpauth URL has a parameter that is no number")]
    Number,
    /// A parameter is out of range.
    #[error("the otpauth URL: {0}")]
    Parameters(ParametersError),
    /// The secret is not a valid seed.
    #[error("the otpauth URL: {0}")]
    Seed(SeedError),
}

/// Returns whether a text begins as an `otpauth://` URL.
pub(super) fn has_scheme(text: &str) -> bool {
    text.get(..SCHEME.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
}

/// Reads a URL. Parameters that are not known here are ignored.
pub(super) fn parse(url: &str) -> Result<Otpauth, OtpauthError> {
    if url.chars().nth(MOST).is_some() {
        return Err(OtpauthError::TooLong);
    }
    let url = url.trim();
    if !has_scheme(url) {
        return Err(OtpauthError::Type);
    }
    let rest = url.get(SCHEME.len()..).unwrap_or_default();
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (kind, label) = path.split_once('/').unwrap_or((path, ""));
    if !kind.eq_ignore_ascii_case("totp") {
        return Err(OtpauthError::Type);
    }
    let mut found = Found::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        found.take(pair)?;
    }
    let parameters = found.parameters()?;
    let secret = found.secret.ok_or(OtpauthError::NoSecret)?;
    let seed = Seed::from_base32(&secret).map_err(OtpauthError::Seed)?;
    Ok(Otpauth {
        principal: principal(label, found.issuer.as_deref())?,
        totp: Totp::new(&seed, parameters),
    })
}

#[derive(Default)]
struct Found {
    secret: Option<Zeroizing<String>>,
    issuer: Option<String>,
    algorithm: Option<String>,
    digits: Option<String>,
    period: Option<String>,
    others: Vec<String>,
}

impl Found {
    fn take(&mut self, pair: &str) -> Result<(), OtpauthError> {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decoded(key)?.to_lowercase();
        let value = decoded(value)?.into_owned();
        let before = match key.as_str() {
            "secret" => self.secret.replace(Zeroizing::new(value)).is_some(),
            "issuer" => self.issuer.replace(value).is_some(),
            "algorithm" => self.algorithm.replace(value).is_some(),
            "digits" => self.digits.replace(value).is_some(),
            "period" => self.period.replace(value).is_some(),
            _ => {
                let before = self.others.contains(&key);
                self.others.push(key);
                before
            }
        };
        match before {
            true => Err(OtpauthError::Twice),
            false => Ok(()),
        }
    }

    fn parameters(&self) -> Result<Parameters, OtpauthError> {
        let algorithm = match &self.algorithm {
            Some(text) => text.parse().map_err(OtpauthError::Parameters)?,
            None => Algorithm::default(),
        };
        let digits = number(self.digits.as_deref(), 6)?;
        let digits = u8::try_from(digits).unwrap_or(u8::MAX);
        let period = number(self.period.as_deref(), 30)?;
        Parameters::new(algorithm, digits, period).map_err(OtpauthError::Parameters)
    }
}

/// Reads a number of up to four ASCII digits.
fn number(text: Option<&str>, default: u16) -> Result<u16, OtpauthError> {
    let Some(text) = text else {
        return Ok(default);
    };
    let is_number = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or(OtpauthError::Number)
}

fn decoded(text: &str) -> Result<Cow<'_, str>, OtpauthError> {
    let is_escaped = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_escaped) {
        return Err(OtpauthError::Encoding);
    }
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| OtpauthError::Encoding)
}

/// Returns name and realm of a label such as `issuer:name@realm`. The first colon that is not encoded ends the
/// issuer.
fn principal(label: &str, issuer: Option<&str>) -> Result<Option<(String, String)>, OtpauthError> {
    let text = match label.split_once(':') {
        Some((_, rest)) => decoded(rest)?,
        None => {
            let text = decoded(label)?;
            let rest = issuer.filter(|it| !it.is_empty()).and_then(|issuer| {
                let rest = text.strip_prefix(issuer)?.strip_prefix(':')?;
                Some(rest.to_owned())
            });
            rest.map_or(text, Cow::Owned)
        }
    };
    let parts = text.trim_matches(' ').rsplit_once('@');
    let parts = parts.filter(|(name, realm)| !name.is_empty() && !realm.is_empty());
    Ok(parts.map(|(name, realm)| (name.to_owned(), realm.to_owned())))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors(part: &str) -> Vec<Value> {
        let text = include_str!("../../../tests/vectors/otpauth.json");
        let all: Value = serde_json::from_str(text).unwrap();
        all[part].as_array().unwrap().clone()
    }

    #[test]
    fn valid_urls_of_the_vectors_are_read() {
        for row in vectors("valid") {
            let parsed = parse(row["url"].as_str().unwrap()).unwrap();
            let found = parsed.principal.as_ref();
            assert_eq!(found.map(|it| it.0.as_str()), row["name"].as_str(), "{row}");
            assert_eq!(
                found.map(|it| it.1.as_str()),
                row["realm"].as_str(),
                "{row}"
            );
            let parameters = parsed.totp.parameters();
            assert_eq!(parameters.algorithm().as_str(), row["algorithm"]);
            assert_eq!(u64::from(parameters.digits()), row["digits"]);
            assert_eq!(u64::from(parameters.period()), row["period"]);
            let seed = parsed.totp.seed().to_base32();
            assert_eq!(*seed, row["seed"].as_str().unwrap());
        }
    }

    #[test]
    fn invalid_urls_of_the_vectors_are_rejected() {
        for row in vectors("invalid") {
            let url = row["url"].as_str().unwrap();
            assert!(parse(url).is_err(), "{row}");
        }
    }
}
