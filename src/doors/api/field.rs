use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error, Visitor};
use unicode_normalization::UnicodeNormalization as _;

use crate::auth::{Flaw, Token, trim};

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// `null`.
    Null,
    /// A string. A lone surrogate, which UTF-8 cannot encode, becomes U+FFFD in `text`.
    Text {
        /// The string.
        text: String,
        /// The first lone surrogate.
        surrogate: Option<u16>,
    },
    /// An integer of any size, in decimal.
    Integer(String),
    /// Another number, in Python's notation.
    Float(String),
    /// `true`, `false`, an array or an object.
    Other,
}

/// The token as sent.
pub(super) struct TokenText<'a> {
    text: Cow<'a, str>,
    /// Whether it was an integer, which has lost leading zeros of the token.
    is_integer: bool,
}

impl TokenText<'_> {
    /// Returns the token.
    ///
    /// # Errors
    /// [`Flaw::Token`] if the text is invalid.
    pub(super) fn token(&self) -> Result<Token<'_>, Flaw> {
        if self.is_integer {
            Token::number(&self.text)
        } else {
            Token::new(&self.text)
        }
    }
}

/// Why a field has no valid text. `Display` is the message of ungleich-otp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The field is missing.
    Missing,
    /// The value is `null`.
    Null,
    /// The value is empty or white space.
    Blank,
    /// The value is neither a string nor a number.
    NotText,
    /// The value has more characters than this.
    TooLong(usize),
    /// The value contains a NUL character.
    Nul,
    /// The value contains a lone surrogate.
    Surrogate(u16),
    /// The value is not an IP address.
    NotAddress,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("This field is required."),
            Self::Null => f.write_str("This field may not be null."),
            Self::Blank => f.write_str("This field may not be blank."),
            Self::NotText => f.write_str("Not a valid string."),
            Self::TooLong(limit) => {
                write!(f, "Ensure this field has no more than {limit} characters.")
            }
            Self::Nul => f.write_str("Null characters are not allowed."),
            Self::NotAddress => f.write_str("Enter a valid IPv4 or IPv6 address."),
            Self::Surrogate(unit) => {
                write!(f, "Surrogate characters are not allowed: U+{unit:X}.")
            }
        }
    }
}

impl Value {
    /// Reads a JSON value of valid syntax.
    ///
    /// # Errors
    /// `None` for valid syntax.
    pub(super) fn from_json(raw: &str) -> Result<Self, serde_json::Error> {
        Ok(match raw.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b'"') => {
                if let Some(text) = plain(raw) {
                    return Ok(Self::from_form(text));
                }
                let mut bytes =
                    serde_json::Deserializer::from_str(raw).deserialize_byte_buf(Wtf8)?;
                let surrogate = replace_surrogates(&mut bytes);
                let text = String::from_utf8(bytes)
                    .map_err(|_| serde_json::Error::custom("the string is not UTF-8"))?;
                Self::Text { text, surrogate }
            }
            Some(b'-' | b'0'..=b'9') if raw.contains(['.', 'e', 'E']) => {
                Self::Float(python_float(serde_json::from_str(raw).or_else(|_| {
                    raw.parse()
                        .map_err(|_| serde_json::Error::custom("the number cannot be read"))
                })?))
            }
            Some(b'-' | b'0'..=b'9') => Self::Integer(match raw {
                "-0" => "0".to_owned(),
                digits => digits.to_owned(),
            }),
            _ => Self::Other,
        })
    }

    /// Makes the value of a form field.
    pub(super) fn from_form(text: &str) -> Self {
        Self::Text {
            text: text.to_owned(),
            surrogate: None,
        }
    }
}

/// Returns the text of a field as ungleich-otp did: numbers count as text, surrounding white space
/// is trimmed, and it has 1 to `limit` characters.
///
/// # Errors
/// All faults of the field, in the order of ungleich-otp's messages.
pub(super) fn text(value: Option<&Value>, limit: usize) -> Result<&str, Vec<Fault>> {
    let (text, surrogate) = match value {
        None => return Err(vec![Fault::Missing]),
        Some(Value::Null) => return Err(vec![Fault::Null]),
        Some(Value::Other) => return Err(vec![Fault::NotText]),
        Some(Value::Text { text, surrogate }) => (trim(text), *surrogate),
        Some(Value::Integer(text) | Value::Float(text)) => (text.as_str(), None),
    };
    if text.is_empty() {
        return Err(vec![Fault::Blank]);
    }
    let mut faults = Vec::new();
    // A character has at least one byte, so only a longer text needs to be counted.
    if text.len() > limit && text.chars().nth(limit).is_some() {
        faults.push(Fault::TooLong(limit));
    }
    if text.contains('\0') {
        faults.push(Fault::Nul);
    }
    faults.extend(surrogate.map(Fault::Surrogate));
    if faults.is_empty() {
        Ok(text)
    } else {
        Err(faults)
    }
}

/// Returns the token in a field. Full-width and other digits are normalized (Unicode NFKC, as pyotp
/// compares them).
///
/// # Errors
/// Those of [`text`].
pub(super) fn token(value: Option<&Value>) -> Result<TokenText<'_>, Vec<Fault>> {
    let text = text(value, Token::MAX_CHARS)?;
    let is_integer = matches!(value, Some(Value::Integer(digits)) if !digits.starts_with('-'));
    let text = if text.is_ascii() {
        Cow::Borrowed(text)
    } else {
        text.nfkc().collect()
    };
    Ok(TokenText { text, is_integer })
}

/// Returns the text of a JSON string of valid syntax that has no escapes.
pub(super) fn plain(raw: &str) -> Option<&str> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains('\\')).then_some(text)
}

/// Formats a number like Python's `repr`: a sign and at least two digits in the exponent.
fn python_float(number: f64) -> String {
    let text = format!("{number:?}");
    match text.split_once('e') {
        None => text,
        Some((mantissa, exponent)) => match exponent.strip_prefix('-') {
            Some(digits) => format!("{mantissa}e-{digits:0>2}"),
            None => format!("{mantissa}e+{exponent:0>2}"),
        },
    }
}

/// Replaces each lone surrogate by U+FFFD, which also takes three bytes. Returns the first one.
fn replace_surrogates(wtf8: &mut [u8]) -> Option<u16> {
    let mut first = None;
    let mut at = 0;
    while let Some(three) = wtf8.get_mut(at..at + 3) {
        if let [0xED, high @ 0xA0..=0xBF, low] = *three {
            first = first.or(Some(
                0xD000 | u16::from(high & 0x3F) << 6 | u16::from(low & 0x3F),
            ));
            three.copy_from_slice("\u{FFFD}".as_bytes());
        }
        at += 1;
    }
    first
}

/// Reads a JSON string as bytes, in which lone surrogates are allowed.
struct Wtf8;

impl Visitor<'_> for Wtf8 {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<String, Vec<Fault>> {
        let value = Value::from_json(json).unwrap();
        text(Some(&value), 128).map(str::to_owned)
    }

    fn read_token(json: &str) -> (String, bool) {
        let value = Value::from_json(json).unwrap();
        let read = token(Some(&value)).unwrap();
        (read.text.into_owned(), read.is_integer)
    }

    #[test]
    fn numbers_are_formatted_like_pythons() {
        for (json, expected) in [
            ("5", "5"),
            ("-0", "0"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("1.5", "1.5"),
            ("1.0", "1.0"),
            ("-0.0", "-0.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("1.5E300", "1.5e+300"),
            ("1e999", "inf"),
            ("-1e999", "-inf"),
        ] {
            assert_eq!(read(json).as_deref(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn only_an_integer_is_a_token_that_has_lost_zeros() {
        for (json, text, is_integer) in [
            ("25258", "25258", true),
            ("0", "0", true),
            ("12345678", "12345678", true),
            ("-5", "-5", false),
            ("1.5", "1.5", false),
            (r#""25258""#, "25258", false),
        ] {
            assert_eq!(read_token(json), (text.to_owned(), is_integer), "{json}");
        }
    }

    #[test]
    fn token_of_wide_digits_is_one_and_a_name_keeps_them() {
        assert_eq!(read_token("\"４７８１６５\"").0, "478165");
        assert_eq!(read("\"４７\"").as_deref(), Ok("４７"));
        assert_eq!(read_token("\"٤٧\"").0, "٤٧");
    }

    #[test]
    fn white_space_around_a_text_is_cut_off() {
        assert_eq!(
            read(r#"" \n\u001f\u00a0a b\u2003\t""#).as_deref(),
            Ok("a b")
        );
    }

    #[test]
    fn lone_surrogate_is_named_and_a_pair_is_a_character() {
        for (json, unit) in [
            (r#""\ud800""#, 0xD800),
            (r#""a\udfffb""#, 0xDFFF),
            (r#""\udbff\udbff""#, 0xDBFF),
        ] {
            assert_eq!(read(json), Err(vec![Fault::Surrogate(unit)]));
        }
        assert_eq!(
            read(r#""\ud83d\ude00\ud7ff\ue000""#).as_deref(),
            Ok("😀\u{d7ff}\u{e000}")
        );
    }

    #[test]
    fn every_fault_of_a_text_is_named() {
        let long = format!(r#""\u0000{}\ud800""#, "é".repeat(127));
        assert_eq!(
            read(&long),
            Err(vec![
                Fault::TooLong(128),
                Fault::Nul,
                Fault::Surrogate(0xD800)
            ])
        );
    }
}
