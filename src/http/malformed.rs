//! Finds the token in a malformed credential. Such a credential authenticates nobody, but nobody
//! else should learn its token either.

use data_encoding::BASE64;
use zeroize::Zeroizing;

/// The number of base64 letters of the shortest credential, `a@b:123456`.
const SHORTEST: usize = 14;

/// Returns whether the value of an `Authorization` could contain `name@realm` and a token in base64.
/// Ignores the scheme, missing or superfluous padding, and everything that is not base64. `most` is
/// the maximum number of letters in a credential.
pub(super) fn holds_token(value: &[u8], most: usize) -> bool {
    let words = value.split(|byte| !is_letter(*byte));
    let is_credential = |letters: &[u8]| {
        // A scheme without a space behind it moves the letters of the credential.
        let mut from = (0..4).filter_map(|at| letters.get(at..));
        (SHORTEST..=most).contains(&letters.len())
            && from.any(|letters| is_like_credential(&decode(letters)))
    };
    if words.clone().any(is_credential) {
        return true;
    }
    // Base64 that is broken into parts. The parts of a bearer token have dots between them.
    let parts = value.iter().position(u8::is_ascii_whitespace);
    let parts = parts.and_then(|scheme| value.get(scheme..));
    let Some(parts) = parts.filter(|parts| !parts.contains(&b'.')) else {
        return false;
    };
    let letters = parts.iter().copied().filter(|byte| is_letter(*byte));
    is_credential(&Zeroizing::new(letters.collect::<Vec<_>>()))
}

/// Returns whether a byte is a letter of base64 in one of its two alphabets (RFC 4648 §4, §5).
fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Decodes base64 without padding. Ignores bits that do not fill a byte.
fn decode(letters: &[u8]) -> Zeroizing<Vec<u8>> {
    let bytes = letters.len() * 3 / 4;
    let whole = letters.len().next_multiple_of(4);
    let mut padded = Zeroizing::new(Vec::with_capacity(whole));
    padded.extend(letters.iter().map(|letter| match letter {
        b'-' => b'+',
        b'_' => b'/',
        letter => *letter,
    }));
    padded.resize(whole, b'A');
    let mut decoded = Zeroizing::new(BASE64.decode(&padded).unwrap_or_default());
    decoded.truncate(bytes);
    decoded
}

/// Returns whether a text ends with a colon and 6 to 8 digits, and contains an `@` before them.
/// Ignores spaces, controls and punctuation among the digits and after them.
fn is_like_credential(text: &[u8]) -> bool {
    let is_ignored = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric();
    let end = text.iter().rposition(|byte| !is_ignored(byte));
    let text = end.and_then(|end| text.get(..=end)).unwrap_or_default();
    let Some(colon) = text.iter().rposition(|byte| *byte == b':') else {
        return false;
    };
    let (user, token) = text.split_at(colon);
    let mut digits = 0;
    for char in token.utf8_chunks().flat_map(|chunk| chunk.valid().chars()) {
        if char.is_numeric() {
            digits += 1;
        } else if char.is_alphabetic() {
            return false;
        }
    }
    (6..=8).contains(&digits) && user.contains(&b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 2056;

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64.encode(text.as_bytes()))
    }

    fn holds(value: &str) -> bool {
        holds_token(value.as_bytes(), MOST)
    }

    #[test]
    fn credential_is_found_however_it_is_malformed() {
        for user in ["alice@ops", "al@ice@ops", "b@c", "alicia@ops", "é@ops"] {
            let exact = basic(&format!("{user}:123456"));
            let letters = exact.strip_prefix("Basic ").unwrap();
            let unpadded = letters.trim_end_matches('=');
            let (first, second) = letters.split_at(letters.len() / 2);
            for value in [
                exact.clone(),
                exact
                    .to_lowercase()
                    .replace(&letters.to_lowercase(), letters),
                format!("Basic {unpadded}"),
                format!("Basic {unpadded}="),
                format!("Basic {unpadded}==="),
                format!("Basic  \t{letters} "),
                format!("Basic {letters}, x"),
                format!("Basic \"{letters}\""),
                format!("Basic {first} {second}"),
                format!("Bearer x, {exact}"),
                format!("Bearer {letters}"),
                format!("Basic {}", letters.replace('+', "-").replace('/', "_")),
                letters.to_owned(),
                format!("Basic{letters}"),
                format!("x{letters}"),
                format!("xx{letters}"),
                format!("xxx{letters}"),
                basic(&format!(" {user}:123456")),
                basic(&format!("{user} :123456")),
                basic(&format!("{user}: 123456")),
                basic(&format!("{user}:123456 \r\n")),
                basic(&format!("{user}:123 456")),
                basic(&format!("{user}:123-456")),
                basic(&format!("{user}:123456\0")),
                basic(&format!("{user}:123456:")),
                basic(&format!("{user}::123456")),
                basic(&format!("{user}:+123456")),
                basic(&format!("{user}:12345678")),
                basic(&format!("{user}:\u{ff11}\u{ff12}\u{ff13}456")),
                basic(&format!("\u{feff}{user}:123456")),
                basic("@ops:123456"),
            ] {
                assert!(holds(&value), "{value:?}");
            }
        }
    }

    #[test]
    fn last_letter_may_have_bits_too_many() {
        let exact = basic("alice@ops:123456");
        assert!(exact.ends_with("Ng=="));
        assert!(holds(&exact.replace("Ng==", "Nh==")));
        assert!(holds(&exact.replace("Ng==", "Nv")));
    }

    #[test]
    fn other_credentials_belong_to_the_application() {
        let claims = "{\"email\":\"alice@example.com\",\"pin\":\"123456\",\"iat\":1700000000}";
        let claims = BASE64.encode(claims.as_bytes());
        for value in [
            String::new(),
            "Basic".to_owned(),
            "Basic !!!".to_owned(),
            format!("Bearer {claims}.{claims}.c2lnbmF0dXJl"),
            format!("Bearer {claims}"),
            basic("alice:123456"),
            basic("alice@example.com:secret"),
            basic("alice@example.com:secret123456"),
            basic("alice@example.com:12345"),
            basic("alice@example.com:123456789"),
            basic("alice:a@b"),
            format!("Basic {}", "A".repeat(60_000)),
        ] {
            assert!(!holds(&value), "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_value_is_read(value: Vec<u8>) {
            holds_token(&value, MOST);
        }
    }
}
