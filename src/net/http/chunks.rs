//! Strict parser of chunked request bodies (RFC 9112 §7.1).
//!
//! hyper skips extensions without parsing them, and accepts spaces as one. Servers differ in how
//! they parse these, and then in where the body ends.

/// The maximum length of a chunk size line with its extensions, in bytes.
const LONGEST_LINE: usize = 4096;

/// The body is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The progress in a body.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    /// The size of the chunk while it is parsed, then its remaining length.
    left: u64,
    /// The number of bytes of the line.
    line: usize,
}

/// The last element that was parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    LineStart,
    Size,
    SpaceBeforeExtension,
    Semicolon,
    Name,
    SpaceAfterName,
    Equals,
    Value,
    Quoted,
    Backslash,
    QuoteEnd,
    SizeReturn,
    Data,
    DataReturn,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerReturn,
    EndReturn,
    End,
    /// The end of the data of a chunk.
    DataEnd,
}

impl Chunks {
    /// Returns whether the body has ended.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == At::End
    }

    /// Parses further bytes. Returns the number of bytes that belong to the body: all, or those up
    /// to its end.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut read = 0;
        while let Some(&byte) = bytes.get(read) {
            match self.at {
                At::End => break,
                At::Data => {
                    let here = (bytes.len() - read) as u64;
                    let taken = self.left.min(here);
                    self.left -= taken;
                    read += usize::try_from(taken).unwrap_or(usize::MAX);
                    if self.left == 0 {
                        self.at = At::DataEnd;
                    }
                }
                _ => {
                    self.at = self.next(byte)?;
                    read += 1;
                }
            }
        }
        Ok(read)
    }

    fn next(&mut self, byte: u8) -> Result<At, Malformed> {
        self.line += 1;
        if self.line > LONGEST_LINE {
            return Err(Malformed);
        }
        let next = match (self.at, byte) {
            (At::LineStart | At::Size, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                let size = self.left.checked_mul(16).ok_or(Malformed)?;
                self.left = size + u64::from(digit);
                At::Size
            }
            (At::Size | At::Name | At::Value | At::QuoteEnd, b'\r') => At::SizeReturn,
            (
                At::Size
                | At::SpaceBeforeExtension
                | At::Name
                | At::SpaceAfterName
                | At::Value
                | At::QuoteEnd,
                b';',
            ) => At::Semicolon,
            (At::Size | At::SpaceBeforeExtension | At::Value | At::QuoteEnd, b' ' | b'\t') => {
                At::SpaceBeforeExtension
            }
            (At::Semicolon, b' ' | b'\t') => At::Semicolon,
            (At::Semicolon | At::Name, _) if is_of_token(byte) => At::Name,
            (At::Name | At::SpaceAfterName, b'=') => At::Equals,
            (At::Name | At::SpaceAfterName, b' ' | b'\t') => At::SpaceAfterName,
            (At::Equals, b' ' | b'\t') => At::Equals,
            (At::Equals, b'"') => At::Quoted,
            (At::Equals | At::Value, _) if is_of_token(byte) => At::Value,
            (At::Quoted, b'"') => At::QuoteEnd,
            (At::Quoted, b'\\') => At::Backslash,
            (At::Quoted | At::Backslash, _) if is_of_text(byte) => At::Quoted,
            (At::SizeReturn, b'\n') => {
                self.line = 0;
                match self.left {
                    0 => At::TrailerStart,
                    _ => At::Data,
                }
            }
            (At::DataEnd, b'\r') => At::DataReturn,
            (At::DataReturn, b'\n') => {
                self.line = 0;
                At::LineStart
            }
            (At::TrailerStart, b'\r') => At::EndReturn,
            (At::TrailerStart | At::TrailerName, _) if is_of_token(byte) => At::TrailerName,
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerValue, b'\r') => At::TrailerReturn,
            (At::TrailerValue, _) if is_of_text(byte) => At::TrailerValue,
            (At::TrailerReturn, b'\n') => {
                self.line = 0;
                At::TrailerStart
            }
            (At::EndReturn, b'\n') => At::End,
            _ => return Err(Malformed),
        };
        Ok(next)
    }
}

/// Returns whether a byte is allowed in a token, such as a method (RFC 9110 §5.6.2).
pub(super) fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns whether a byte is allowed in a field value or a quoted string (RFC 9110 §5.5, §5.6.4).
fn is_of_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the length of a body; `None` if it has not ended.
    fn read(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut chunks = Chunks::default();
        let read = chunks.advance(bytes)?;
        Ok(chunks.is_at_end().then_some(read))
    }

    #[test]
    fn body_ends_after_its_last_chunk_and_its_trailers() {
        for body in [
            "0\r\n\r\n",
            "5\r\nabcde\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n000\r\n\r\n",
            "00000000000000000001\r\nx\r\n0\r\n\r\n",
            "1;a\r\nx\r\n0;b=c\r\n\r\n",
            "1 ; a = \"b\\\"\r\";c\r\nx\r\n0\r\n\r\n",
            "1;a=\"b;c\" ;d\r\nx\r\n0\r\n\r\n",
            "0\r\nA: b\r\nc:\r\n\r\n",
        ] {
            let body = body.replace("\\\"\r", "\\\"");
            let followed = format!("{body}GET");
            assert_eq!(read(followed.as_bytes()), Ok(Some(body.len())), "{body:?}");
            assert_eq!(read(&body.as_bytes()[..body.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn chunks_outside_the_grammar_are_malformed() {
        for body in [
            "\r\n",
            ";x\r\n",
            " 1\r\n",
            "1 \r\n",
            "1\n",
            "+1\r\n",
            "0x1\r\n",
            "g\r\n",
            "1;\r\n",
            "1;a=\r\n",
            "1;a =\r\n",
            "1;a\n",
            "1;a\0\r\n",
            "1;a=\"b\r\n",
            "1;a=\"b\0\"\r\n",
            "1;a=b c\r\n",
            "1;=b\r\n",
            "1;a b\r\n",
            "1;a \r\n",
            "1\r\nxy\r\n",
            "1\r\nx\n0\r\n\r\n",
            "1\r\nx\r0",
            "2;\nxx\r\n",
            "0\r\nA\r\n",
            "0\r\n: a\r\n",
            "0\r\nA : b\r\n",
            "0\r\n a: b\r\n",
            "0\r\nA: b\n",
            "0\r\nA: \0\r\n",
            "0\r\n\n",
            "10000000000000000\r\n",
        ] {
            assert_eq!(read(body.as_bytes()), Err(Malformed), "{body:?}");
        }
        let long = format!("1;a={}\r\n", "b".repeat(LONGEST_LINE));
        assert_eq!(read(long.as_bytes()), Err(Malformed));
    }

    proptest! {
        #[test]
        fn end_is_the_same_however_the_bytes_come(
            bytes in proptest::collection::vec(prop::sample::select(&b"01;a= \"\\\r\n:"[..]), 0..24),
        ) {
            let mut chunks = Chunks::default();
            let mut end = Ok(0);
            for byte in &bytes {
                end = end.and_then(|end| Ok(end + chunks.advance(&[*byte])?));
            }
            let found = end.map(|end| chunks.is_at_end().then_some(end));
            prop_assert_eq!(found, read(&bytes));
        }
    }
}
