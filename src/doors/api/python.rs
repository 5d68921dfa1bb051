//! Parse errors in the words of Python 3.11, which old clients may show.

use std::str::Utf8Error;

/// Describes where bytes are not UTF-8.
pub(super) fn not_utf8(bytes: &[u8], error: &Utf8Error) -> String {
    let at = error.valid_up_to();
    let byte = bytes.get(at).copied().unwrap_or_default();
    let is_start = matches!(byte, 0xC2..=0xF4);
    let why = match error.error_len() {
        None => "unexpected end of data",
        Some(_) if is_start => "invalid continuation byte",
        Some(_) => "invalid start byte",
    };
    match error.error_len().unwrap_or(bytes.len() - at) {
        0 | 1 => format!("'utf-8' codec can't decode byte {byte:#04x} in position {at}: {why}"),
        many => {
            let last = at + many - 1;
            format!("'utf-8' codec can't decode bytes in position {at}-{last}: {why}")
        }
    }
}

/// Describes where a text is not JSON.
pub(super) fn not_json(body: &str) -> String {
    let Fault { words, at } = match Scanner::new(body).scan() {
        Err(fault) => fault,
        // Python accepts this text.
        Ok(()) => fault("Expecting value", 0),
    };
    if let Words::Constant(name) = words {
        return format!("Out of range float values are not JSON compliant: '{name}'");
    }
    let before = body.get(..at).unwrap_or(body);
    let position = before.chars().count();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    let words = match words {
        Words::Of(words) | Words::Constant(words) => words,
    };
    format!("{words}: line {line} column {column} (char {position})")
}

/// A parse error and its byte position.
struct Fault {
    words: Words,
    at: usize,
}

enum Words {
    Of(&'static str),
    /// A number that Python accepts in JSON, but ungleich-otp did not.
    Constant(&'static str),
}

fn fault(words: &'static str, at: usize) -> Fault {
    let words = Words::Of(words);
    Fault { words, at }
}

/// An open array or object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Array,
    Object,
}

/// Finds the first error as `json.loads` does, without recursion.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(body: &'a str) -> Self {
        let bytes = body.as_bytes();
        Self { bytes, at: 0 }
    }

    fn scan(mut self) -> Result<(), Fault> {
        if self.bytes.starts_with("\u{feff}".as_bytes()) {
            return Err(fault("Unexpected UTF-8 BOM (decode using utf-8-sig)", 0));
        }
        let mut open = Vec::new();
        self.skip_space();
        loop {
            // A value is expected.
            if let Some(begun) = self.begin_value()? {
                open.push(begun);
                if begun == Open::Object {
                    self.key()?;
                }
                continue;
            }
            // Close everything that ends after this value.
            loop {
                self.skip_space();
                let Some(inner) = open.last() else {
                    return match self.peek() {
                        None => Ok(()),
                        Some(_) => Err(fault("Extra data", self.at)),
                    };
                };
                let end = match inner {
                    Open::Array => b']',
                    Open::Object => b'}',
                };
                match self.peek() {
                    Some(byte) if byte == end => {
                        self.at += 1;
                        open.pop();
                    }
                    Some(b',') => {
                        self.at += 1;
                        self.skip_space();
                        if *inner == Open::Object {
                            self.key()?;
                        }
                        break;
                    }
                    _ => return Err(fault("Expecting ',' delimiter", self.at)),
                }
            }
        }
    }

    /// Reads a value, or only the beginning of a non-empty array or object.
    fn begin_value(&mut self) -> Result<Option<Open>, Fault> {
        let (begun, end) = match self.peek() {
            Some(b'[') => (Open::Array, b']'),
            Some(b'{') => (Open::Object, b'}'),
            Some(b'"') => return self.string().map(|()| None),
            _ => return self.word().map(|()| None),
        };
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(end) {
            self.at += 1;
            return Ok(None);
        }
        Ok(Some(begun))
    }

    fn key(&mut self) -> Result<(), Fault> {
        if self.peek() != Some(b'"') {
            let words = "Expecting property name enclosed in double quotes";
            return Err(fault(words, self.at));
        }
        self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(fault("Expecting ':' delimiter", self.at));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        let begin = self.at;
        self.at += 1;
        loop {
            let unterminated = fault("Unterminated string starting at", begin);
            match self.peek().ok_or(unterminated)? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                ..0x20 => return Err(fault("Invalid control character at", self.at)),
                b'\\' => self.escape(begin)?,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self, begin: usize) -> Result<(), Fault> {
        let start = self.at;
        self.at += 2;
        match self.bytes.get(start + 1) {
            None => return Err(fault("Unterminated string starting at", begin)),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Ok(()),
            Some(b'u') => {}
            Some(_) => return Err(fault("Invalid \\escape", start)),
        }
        let bad = |at| fault("Invalid \\uXXXX escape", at);
        // Python requires four characters and another one after them.
        let left = self.bytes.iter().skip(self.at);
        // Count the bytes that begin a character.
        let chars = left.filter(|&&byte| byte & 0xC0 != 0x80);
        if chars.take(5).count() < 5 {
            return Err(bad(start + 1));
        }
        let digits = self.bytes.get(self.at..self.at + 4).unwrap_or_default();
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad(start + 1));
        }
        self.at += 4;
        Ok(())
    }

    /// Reads a number, `true`, `false`, `null`, or one of Python's constants.
    fn word(&mut self) -> Result<(), Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        for name in ["null", "true", "false"] {
            if rest.starts_with(name.as_bytes()) {
                self.at += name.len();
                return Ok(());
            }
        }
        for name in ["NaN", "Infinity", "-Infinity"] {
            if rest.starts_with(name.as_bytes()) {
                let words = Words::Constant(name);
                return Err(Fault { words, at: self.at });
            }
        }
        let length = number(rest).ok_or_else(|| fault("Expecting value", self.at))?;
        self.at += length;
        Ok(())
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

/// Returns the length of the number at the beginning of a text.
fn number(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let is_at = |at: usize, bytes: &[u8]| text.get(at).is_some_and(|byte| bytes.contains(byte));
    let mut end = usize::from(is_at(0, b"-"));
    end += match digits(end) {
        0 => return None,
        _ if is_at(end, b"0") => 1,
        some => some,
    };
    if is_at(end, b".") && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if is_at(end, b"eE") {
        let sign = usize::from(is_at(end + 1, b"+-"));
        let some = digits(end + 1 + sign);
        if some > 0 {
            end += 1 + sign + some;
        }
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_worded_like_pythons() {
        for (body, expected) in [
            ("", "Expecting value: line 1 column 1 (char 0)"),
            ("[", "Expecting value: line 1 column 2 (char 1)"),
            ("[1,]", "Expecting value: line 1 column 4 (char 3)"),
            ("[1 2]", "Expecting ',' delimiter: line 1 column 4 (char 3)"),
            (
                r#"{"é" 1}"#,
                "Expecting ':' delimiter: line 1 column 6 (char 5)",
            ),
            (
                "{\n 1}",
                "Expecting property name enclosed in double quotes: line 2 column 2 (char 3)",
            ),
            ("01", "Extra data: line 1 column 2 (char 1)"),
            ("1.", "Extra data: line 1 column 2 (char 1)"),
            ("-", "Expecting value: line 1 column 1 (char 0)"),
            (
                r#"["a"#,
                "Unterminated string starting at: line 1 column 2 (char 1)",
            ),
            (
                "\"a\tb\"",
                "Invalid control character at: line 1 column 3 (char 2)",
            ),
            (r#""a\x""#, "Invalid \\escape: line 1 column 3 (char 2)"),
            (
                r#""\u12g4""#,
                "Invalid \\uXXXX escape: line 1 column 3 (char 2)",
            ),
            (
                "[-Infinity]",
                "Out of range float values are not JSON compliant: '-Infinity'",
            ),
            (
                "\u{feff}{}",
                "Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)",
            ),
        ] {
            assert_eq!(not_json(body), expected, "{body}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_named() {
        for (bytes, expected) in [
            (
                &b"{\xff"[..],
                "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte",
            ),
            (
                b"\xc3(",
                "'utf-8' codec can't decode byte 0xc3 in position 0: invalid continuation byte",
            ),
            (
                b"\xe2\x82(",
                "'utf-8' codec can't decode bytes in position 0-1: invalid continuation byte",
            ),
        ] {
            let error = str::from_utf8(bytes).unwrap_err();
            assert_eq!(not_utf8(bytes, &error), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn both_json_parsers_reject_the_same_texts(
            text in "[\\[\\]{}:,\"\\\\ u0-9a-f.+enrtl-]{0,24}",
        ) {
            let ours = Scanner::new(&text).scan().is_ok();
            let theirs: serde_json::Result<&serde_json::value::RawValue> = serde_json::from_str(&text);
            assert_eq!(ours, theirs.is_ok(), "{text}");
        }
    }
}
