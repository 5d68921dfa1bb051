//! Lines that are written into a response, between the bytes of hyper.

use std::io::IoSlice;

use bytes::Bytes;
use memchr::memchr;

/// The lines, and where they are to be written. Empty where there are none.
#[derive(Default)]
pub(super) struct Inserted {
    /// The number of bytes of hyper before them.
    before: usize,
    lines: Text,
    /// The number of bytes of them that are written.
    written: usize,
}

/// Header lines, made for one response or for all.
pub(super) enum Text {
    One(Vec<u8>),
    All(Bytes),
}

impl Default for Text {
    fn default() -> Self {
        Self::All(Bytes::new())
    }
}

/// The maximum number of parts in one write with lines.
const PARTS: usize = 8;

impl Inserted {
    /// Inserts lines behind the status line of a response, whose bytes begin with its header.
    pub(super) fn behind_status(lines: Text, response: &[u8]) -> Self {
        match memchr(b'\n', response) {
            Some(end) => Self {
                before: end + 1,
                lines,
                written: 0,
            },
            None => Self::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left().is_empty()
    }

    /// Returns what is left of the lines.
    fn left(&self) -> &[u8] {
        let lines = match &self.lines {
            Text::One(lines) => lines,
            Text::All(lines) => &lines[..],
        };
        lines.get(self.written..).unwrap_or_default()
    }

    /// Returns the parts of hyper with the lines among them, as far as there is room.
    pub(super) fn among<'a>(&'a self, parts: &'a [IoSlice<'a>]) -> [IoSlice<'a>; PARTS] {
        let first = parts.first().map(|part| &**part).unwrap_or_default();
        // They are in the header, and all of it is in the first part.
        let (start, rest) = first.split_at_checked(self.before).unwrap_or((first, &[]));
        let some = [start, self.left(), rest].map(IoSlice::new);
        let others = parts.iter().skip(1).copied();
        let mut all = [IoSlice::new(&[]); PARTS];
        for (place, part) in all.iter_mut().zip(some.into_iter().chain(others)) {
            *place = part;
        }
        all
    }

    /// Records that bytes were written. Returns the number of those that are hyper's.
    pub(super) fn wrote(&mut self, written: usize) -> usize {
        let of_start = written.min(self.before);
        let of_lines = (written - of_start).min(self.left().len());
        self.before -= of_start;
        self.written += of_lines;
        written - of_lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn lines_follow_the_status_line_however_much_is_written_at_once(
            header in "HTTP/1.1 200 OK\r\n(a: b\r\n){0,3}\r\n",
            body in proptest::collection::vec("[a-z]{0,9}", 0..12),
            writes in proptest::collection::vec(1..30_usize, 1..20),
        ) {
            let lines = "keep-alive: timeout=9\r\n";
            let mut inserted = Inserted::behind_status(Text::One(lines.into()), header.as_bytes());
            let whole = [header.as_str(), &body.concat()].concat();
            let mut ends: Vec<usize> = vec![header.len()];
            ends.extend(body.iter().scan(header.len(), |end, part| {
                *end += part.len();
                Some(*end)
            }));
            let (mut passed, mut sent) = (0, Vec::new());
            for most in writes.iter().cycle() {
                if passed == whole.len() {
                    break;
                }
                let parts: Vec<IoSlice<'_>> = std::iter::once(0)
                    .chain(ends.iter().copied())
                    .zip(&ends)
                    .filter(|(_, end)| **end > passed)
                    .map(|(start, end)| IoSlice::new(&whole.as_bytes()[start.max(passed)..*end]))
                    .collect();
                let offered = inserted.among(&parts).map(|part| part.to_vec()).concat();
                let written = offered.len().min(*most);
                assert!(written > 0);
                sent.extend_from_slice(&offered[..written]);
                passed += inserted.wrote(written);
            }
            let (status, rest) = whole.split_once("\r\n").unwrap();
            assert_eq!(String::from_utf8(sent).unwrap(), format!("{status}\r\n{lines}{rest}"));
            assert!(inserted.is_empty());
        }
    }
}
