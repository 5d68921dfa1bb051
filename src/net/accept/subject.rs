//! Formats the subject of a certificate (RFC 4514) so that different subjects differ. Values that
//! differ only in UTF8String or PrintableString have the same text, and are the same name (RFC 5280
//! §7.1).

use std::fmt::Write;

use http::HeaderValue;
use x509_parser::der_parser::asn1_rs::{Tag, ToDer};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate};

use crate::http::encode;

/// Attributes with a short name (RFC 4514 §3), and the string types that are written as text.
const NAMED: [(&[u8], &str, &[Tag]); 9] = [
    (&[0x55, 4, 3], "CN", DIRECTORY),
    (&[0x55, 4, 7], "L", DIRECTORY),
    (&[0x55, 4, 8], "ST", DIRECTORY),
    (&[0x55, 4, 10], "O", DIRECTORY),
    (&[0x55, 4, 11], "OU", DIRECTORY),
    (&[0x55, 4, 6], "C", DIRECTORY),
    (&[0x55, 4, 9], "STREET", DIRECTORY),
    (
        &[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
        "DC",
        &[Tag::Ia5String],
    ),
    (
        &[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
        "UID",
        DIRECTORY,
    ),
];
const DIRECTORY: &[Tag] = &[Tag::Utf8String, Tag::PrintableString];

/// Returns the subject of a DER certificate as a header value: RFC 4514, then percent-encoded like
/// names. `None` if it is empty, or could be confused with another subject.
pub(super) fn of(certificate: &[u8]) -> Option<HeaderValue> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut text = String::new();
    // The last one is written first (RFC 4514 §2.1).
    let parts: Vec<_> = certificate.subject().iter_rdn().collect();
    for (at, part) in parts.iter().rev().enumerate() {
        for (nth, attribute) in part.iter().enumerate() {
            match (at, nth) {
                (0, 0) => {}
                (_, 0) => text.push(','),
                _ => text.push('+'),
            }
            write_attribute(&mut text, attribute)?;
        }
    }
    if text.is_empty() {
        return None;
    }
    HeaderValue::from_str(&encode(&text)).ok()
}

/// Returns the end of the validity of a DER certificate, in seconds since 1970.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

fn write_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) -> Option<()> {
    let (kind, value) = (attribute.attr_type(), attribute.attr_value());
    let named = NAMED.iter().find(|(oid, ..)| *oid == kind.as_bytes());
    match (named, str::from_utf8(value.data)) {
        (Some((_, name, types)), Ok(value_text)) if types.contains(&value.tag()) => {
            text.push_str(name);
            text.push('=');
            write_value(text, value_text);
        }
        _ => {
            if !is_minimal(kind.as_bytes()) {
                return None;
            }
            text.push_str(&kind.to_id_string());
            text.push_str("=#");
            // With tag and length (RFC 4514 §2.4), because a value of another type is different.
            for byte in value.to_der_vec().ok()? {
                // Writing to a String does not fail.
                let _ = write!(text, "{byte:02x}");
            }
        }
    }
    Some(())
}

/// Returns whether an object identifier is encoded without leading zeros, which would be a
/// different identifier with the same text (X.690 §8.19.2).
fn is_minimal(oid: &[u8]) -> bool {
    let mut is_first = true;
    for byte in oid {
        if is_first && *byte == 0x80 {
            return false;
        }
        is_first = byte & 0x80 == 0;
    }
    is_first
}

/// Escapes characters with a meaning in a subject (RFC 4514 §2.4).
fn write_value(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (at, char) in value.chars().enumerate() {
        match char {
            '\0' => text.push_str("\\00"),
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => {
                text.push('\\');
                text.push(char);
            }
            '#' | ' ' if at == 0 => {
                text.push('\\');
                text.push(char);
            }
            ' ' if at == last => text.push_str("\\ "),
            _ => text.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::der_parser::asn1_rs::{Any, Oid};

    use super::*;

    fn attribute(oid: &'static [u8], tag: Tag, value: &'static [u8]) -> Option<String> {
        let value = Any::from_tag_and_data(tag, value);
        let attribute = AttributeTypeAndValue::new(Oid::new(oid.into()), value);
        let mut text = String::new();
        write_attribute(&mut text, &attribute)?;
        Some(text)
    }

    #[test]
    fn value_cannot_pass_for_another_attribute() {
        let mut text = String::new();
        write_value(&mut text, " a,CN=admin+O\\ ");
        assert_eq!(text, "\\ a\\,CN\\=admin\\+O\\\\\\ ");
    }

    #[test]
    fn values_of_other_types_do_not_look_alike() {
        const CN: &[u8] = &[0x55, 4, 3];
        let of = |tag, value| attribute(CN, tag, value).unwrap();
        assert_eq!(of(Tag::Utf8String, b"ab"), "CN=ab");
        assert_eq!(of(Tag::PrintableString, b"ab"), "CN=ab");
        let types = [
            Tag::BmpString,
            Tag::T61String,
            Tag::UniversalString,
            Tag::Ia5String,
            Tag::VisibleString,
            Tag::GeneralString,
            Tag::NumericString,
            Tag::OctetString,
        ];
        let mut texts: Vec<String> = types.iter().map(|tag| of(*tag, b"ab")).collect();
        assert_eq!(texts[0], "2.5.4.3=#1e026162");
        assert!(texts.iter().all(|text| text.starts_with("2.5.4.3=#")));
        // Nor does it look like the hexadecimal text of such a value.
        texts.push(of(Tag::Utf8String, b"#1e026162"));
        texts.push(of(Tag::Utf8String, b"ab"));
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), types.len() + 2, "{texts:?}");
    }

    #[test]
    fn text_that_is_no_utf8_is_written_as_bytes() {
        let text = attribute(&[0x55, 4, 3], Tag::Utf8String, b"\xff").unwrap();
        assert_eq!(text, "2.5.4.3=#0c01ff");
    }

    #[test]
    fn domain_component_is_text_in_its_own_type_only() {
        const DC: &[u8] = &[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25];
        assert_eq!(
            attribute(DC, Tag::Ia5String, b"example").unwrap(),
            "DC=example"
        );
        let other = attribute(DC, Tag::Utf8String, b"example").unwrap();
        assert!(
            other.starts_with("0.9.2342.19200300.100.1.25=#0c07"),
            "{other}"
        );
    }

    #[test]
    fn identifier_with_leading_zeros_is_none() {
        assert_eq!(attribute(&[0x55, 4, 0x80, 3], Tag::Utf8String, b"a"), None);
        assert_eq!(attribute(&[0x55, 4, 0x83], Tag::Utf8String, b"a"), None);
        assert!(attribute(&[0x55, 4, 0x83, 3], Tag::Utf8String, b"a").is_some());
    }
}
