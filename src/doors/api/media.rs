//! `Content-Type`: the media type, charset and boundary of a body.

use std::borrow::Cow;
use std::iter;

use encoding_rs::Encoding;

/// A media type with its parameters (RFC 9110 §8.3.1).
pub(super) struct MediaType<'a> {
    essence: &'a str,
    parameters: &'a str,
}

impl<'a> MediaType<'a> {
    /// Parses the value of `Content-Type`.
    pub(super) fn read(text: &'a str) -> Self {
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        Self {
            essence: essence.trim(),
            parameters,
        }
    }

    /// Returns whether the type is `essence`.
    pub(super) fn is(&self, essence: &str) -> bool {
        self.essence.eq_ignore_ascii_case(essence)
    }

    /// Returns the value of a parameter without its quotes. The last occurrence counts, as in
    /// Python. An unquoted value may contain any character except a semicolon.
    pub(super) fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut found = None;
        if self.parameters.is_empty() {
            return None;
        }
        for part in parts(self.parameters) {
            if let Some((key, value)) = part.split_once('=')
                && key.trim().eq_ignore_ascii_case(name)
            {
                found = Some(unquoted(value.trim()));
            }
        }
        found
    }

    /// Returns the character encoding of the body; `None` if it is not supported.
    pub(super) fn charset(&self) -> Option<Charset> {
        match self.parameter("charset") {
            None => Some(Charset::Utf8),
            Some(label) => Charset::of(&label),
        }
    }
}

/// Splits parameters at semicolons outside quotes.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            let was_escaped = std::mem::take(&mut is_escaped);
            match byte {
                _ if was_escaped => false,
                b'\\' => {
                    is_escaped = is_quoted;
                    false
                }
                b'"' => {
                    is_quoted = !is_quoted;
                    false
                }
                byte => byte == b';' && !is_quoted,
            }
        });
        let (part, after) = match end.and_then(|end| text.split_at_checked(end)) {
            Some((part, after)) => (part, after.get(1..)),
            None => (text, None),
        };
        rest = after;
        Some(part)
    })
}

/// Removes quotes and escapes (RFC 9110 §5.6.4).
fn unquoted(text: &str) -> Cow<'_, str> {
    let inside = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    match inside {
        None => text.into(),
        Some(inside) if !inside.contains('\\') => inside.into(),
        Some(inside) => {
            let mut chars = inside.chars();
            let next = || match chars.next()? {
                '\\' => chars.next(),
                char => Some(char),
            };
            iter::from_fn(next).collect::<String>().into()
        }
    }
}

/// A character encoding.
#[derive(Clone, Copy, Debug)]
pub(super) enum Charset {
    /// UTF-8, which includes US-ASCII.
    Utf8,
    /// ISO 8859-1: each byte is the code point. Browsers read this label as Windows-1252.
    Latin1,
    /// Another single-byte encoding.
    Table(&'static Encoding),
}

impl Charset {
    /// Finds an encoding by its label.
    fn of(label: &str) -> Option<Self> {
        const ASCII: [&str; 3] = ["ascii", "us-ascii", "646"];
        const LATIN1: [&str; 9] = [
            "iso-8859-1",
            "iso8859-1",
            "iso_8859-1",
            "iso88591",
            "8859",
            "latin-1",
            "latin1",
            "latin_1",
            "l1",
        ];
        let is_in = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(label));
        if is_in(&ASCII) {
            return Some(Self::Utf8);
        }
        if is_in(&LATIN1) {
            return Some(Self::Latin1);
        }
        let label = label.replace('_', "-");
        match Encoding::for_label(label.as_bytes()) {
            Some(encoding) if encoding == encoding_rs::UTF_8 => Some(Self::Utf8),
            Some(encoding) if encoding.is_single_byte() => Some(Self::Table(encoding)),
            _ => None,
        }
    }

    /// Decodes a text. U+FFFD replaces invalid bytes.
    pub(super) fn lossy(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes),
            Self::Latin1 => encoding_rs::mem::decode_latin1(bytes),
            Self::Table(encoding) => encoding.decode_without_bom_handling(bytes).0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_is_found_whatever_stands_around_it() {
        for (text, expected) in [
            ("a/b", None),
            ("a/b; boundary", None),
            ("a/b; boundary=x", Some("x")),
            ("a/b;Boundary = x ;c=d", Some("x")),
            ("a/b; boundary=x/y:z=?", Some("x/y:z=?")),
            (r#"a/b; boundary="x;y""#, Some("x;y")),
            (r#"a/b; c="; boundary=x"; boundary=y"#, Some("y")),
            (r#"a/b; boundary="a\"b\\c""#, Some(r#"a"b\c"#)),
            ("a/b; boundary=x; boundary=y", Some("y")),
            (r#"a/b; boundary=""#, Some("\"")),
            ("a/b; boundary=", Some("")),
        ] {
            let found = MediaType::read(text).parameter("boundary");
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn charset_of_one_byte_a_character_is_read_and_another_one_is_not() {
        let read = |charset: &str, bytes: &'static [u8]| {
            let text = format!("a/b; charset={charset}");
            let charset = MediaType::read(&text).charset();
            charset.map(|charset| charset.lossy(bytes))
        };
        for (charset, text) in [
            ("utf-8", "\u{fffd}"),
            ("UTF8", "\u{fffd}"),
            ("\"utf-8\"", "\u{fffd}"),
            ("us-ascii", "\u{fffd}"),
            ("latin-1", "\u{96}"),
            ("ISO-8859-1", "\u{96}"),
            ("windows-1252", "–"),
            ("cp1252", "–"),
            ("koi8-r", "√"),
            ("ISO-8859-15", "\u{96}"),
            ("iso8859_15", "\u{96}"),
        ] {
            assert_eq!(read(charset, b"\x96").as_deref(), Some(text), "{charset}");
        }
        for charset in [
            "utf-16",
            "utf-7",
            "gbk",
            "shift_jis",
            "iso-2022-jp",
            "none",
            "",
            "\"",
        ] {
            assert_eq!(read(charset, b"a"), None, "{charset}");
        }
    }
}
