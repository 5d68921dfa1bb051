//! The subject of a certificate as a text (RFC 4514): no two subjects look alike.

use std::fmt::Write;

use http::HeaderValue;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate};

use crate::headers::encode;

/// Returns the subject of a certificate in DER, as the value of a field: RFC 4514, then percent-encoded
/// as names are.
pub(super) fn of(certificate: &[u8]) -> Option<HeaderValue> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut text = String::new();
    // The last comes first (RFC 4514 §2.1).
    let parts: Vec<_> = certificate.subject().iter_rdn().collect();
    for (at, part) in parts.iter().rev().enumerate() {
        for (nth, attribute) in part.iter().enumerate() {
            match (at, nth) {
                (0, 0) => {}
                (_, 0) => text.push(','),
                _ => text.push('+'),
            }
            write_attribute(&mut text, attribute);
        }
    }
    HeaderValue::from_str(&encode(&text)).ok()
}

fn write_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let kind = attribute.attr_type();
    let short = match kind.to_id_string().as_str() {
        "2.5.4.3" => Some("CN"),
        "2.5.4.7" => Some("L"),
        "2.5.4.8" => Some("ST"),
        "2.5.4.10" => Some("O"),
        "2.5.4.11" => Some("OU"),
        "2.5.4.6" => Some("C"),
        "2.5.4.9" => Some("STREET"),
        "0.9.2342.19200300.100.1.25" => Some("DC"),
        "0.9.2342.19200300.100.1.1" => Some("UID"),
        _ => None,
    };
    match (short, attribute.as_str()) {
        (Some(short), Ok(value)) => {
            text.push_str(short);
            text.push('=');
            write_value(text, value);
        }
        _ => {
            text.push_str(&kind.to_id_string());
            text.push_str("=#");
            for byte in attribute.as_slice() {
                // Writing to a String does not fail.
                let _ = write!(text, "{byte:02x}");
            }
        }
    }
}

/// Escapes what means something in a subject (RFC 4514 §2.4).
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
    use super::*;

    #[test]
    fn value_cannot_pass_for_another_attribute() {
        let mut text = String::new();
        write_value(&mut text, " a,CN=admin+O\\ ");
        assert_eq!(text, "\\ a\\,CN\\=admin\\+O\\\\\\ ");
    }
}
