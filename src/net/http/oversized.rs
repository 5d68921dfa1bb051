//! Detects the requests that h2 rejects by itself because of their header lists.
//!
//! h2 0.4.20 responds with 431 to a header list that exceeds its limit, and passes nothing on. That is
//! the only response it makes. It consists of `:status` alone, whereas hyper adds `Date` to all
//! others, and it is sent before the response to any later request. Far beyond the limit, it ends the
//! connection with GOAWAY, which says why.

/// The length of a frame header (RFC 9113 §4.1).
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
/// The maximum length of a payload that is read. Longer header blocks have more than a status.
const SHORT: usize = 48;
/// The causes of GOAWAY in words, and the code without words (RFC 9113 §7).
const CAUSES: [&[u8]; 2] = [b"header_list_way_too_large", b"too_many_continuations"];
const COMPRESSION_ERROR: u8 = 9;
/// The index of `:status` in the static table (RFC 7541 appendix A), and the last index there.
const STATUS: usize = 8;
const STATIC: usize = 61;

/// The position in the frames written to a client.
#[derive(Debug)]
pub(super) struct Written {
    /// The frame header, then the payload if it matters and is short.
    bytes: [u8; HEAD + SHORT],
    filled: usize,
    /// The number of payload bytes to skip.
    skipped: usize,
    /// The highest stream with a header block.
    highest: u32,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            bytes: [0; HEAD + SHORT],
            filled: 0,
            skipped: 0,
            highest: 0,
        }
    }
}

impl Written {
    /// Reads further written bytes. Returns the number of requests that they reject.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> usize {
        let mut found = 0;
        while !bytes.is_empty() {
            let skipped = self.skipped.min(bytes.len());
            self.skipped -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let wanted = HEAD + self.short_block();
            let room = self.bytes.get_mut(self.filled..wanted).unwrap_or_default();
            let taken = room.len().min(bytes.len());
            for (to, from) in room.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.filled += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.filled == HEAD {
                let length = self.length();
                if self.short_block() == 0 {
                    self.skipped = length;
                }
            }
            if self.filled >= HEAD && self.filled == HEAD + self.short_block() {
                found += usize::from(self.end_of_head());
                self.filled = 0;
            }
        }
        found
    }

    /// Returns the length of the payload.
    fn length(&self) -> usize {
        let [one, two, three, ..] = self.bytes;
        usize::from(one) << 16 | usize::from(two) << 8 | usize::from(three)
    }

    /// Returns the length of the payload if it is short, and a GOAWAY or a header block that ends its
    /// stream.
    fn short_block(&self) -> usize {
        let [_, _, _, kind, flags, ..] = self.bytes;
        let is_last = kind == HEADERS && flags & END_STREAM != 0;
        let matters = self.filled >= HEAD && (is_last || kind == GOAWAY);
        match self.length() {
            length if matters && length <= SHORT => length,
            _ => 0,
        }
    }

    /// Evaluates a frame. Returns whether it rejects a request.
    fn end_of_head(&mut self) -> bool {
        let [_, _, _, kind, _, a, b, c, d, ..] = self.bytes;
        if kind == GOAWAY {
            let payload = self.bytes.get(HEAD..self.filled).unwrap_or_default();
            return is_oversized(payload);
        }
        if kind != HEADERS {
            return false;
        }
        let id = u32::from_be_bytes([a, b, c, d]);
        let is_first = id > self.highest;
        self.highest = self.highest.max(id);
        let block = self.bytes.get(HEAD..self.filled).unwrap_or_default();
        is_first && is_unknown_status(block)
    }
}

/// Returns whether the payload of a GOAWAY names a header list as the cause.
fn is_oversized(payload: &[u8]) -> bool {
    match payload {
        [_, _, _, _, 0, 0, 0, COMPRESSION_ERROR] => true,
        [_, _, _, _, _, _, _, _, words @ ..] => CAUSES.contains(&words),
        _ => false,
    }
}

/// Returns whether a header block is a single `:status` that is not in the static table.
fn is_unknown_status(mut block: &[u8]) -> bool {
    // Changes of the table size (RFC 7541 §6.3).
    while let Some(0x20..=0x3f) = block.first() {
        match integer(block, 5) {
            Some((_, rest)) => block = rest,
            None => return false,
        }
    }
    let Some(&first) = block.first() else {
        return false;
    };
    if first & 0x80 != 0 {
        return matches!(integer(block, 7), Some((index, [])) if index > STATIC);
    }
    let bits = if first & 0x40 != 0 { 6 } else { 4 };
    let Some((STATUS, text)) = integer(block, bits) else {
        return false;
    };
    matches!(integer(text, 7), Some((length, rest)) if rest.len() == length)
}

/// Reads an integer with a prefix of `bits` bits (RFC 7541 §5.1). Returns it and the rest.
fn integer(bytes: &[u8], bits: u32) -> Option<(usize, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(*first) & most;
    if value < most {
        return Some((value, rest));
    }
    for shift in [0, 7, 14] {
        let (next, after) = rest.split_first()?;
        value += usize::from(next & 0x7f) << shift;
        rest = after;
        if next & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &id.to_be_bytes()].concat();
        [&head, payload].concat()
    }

    /// The frames, and the number of responses of h2 in them.
    fn frames() -> (Vec<u8>, usize) {
        let literal = [0x48, 0x83, 1, 2, 3];
        let frames = [
            frame(4, 0, 0, &[0; 18]),
            // Responses with a date, with and without content.
            frame(HEADERS, 4, 1, &[0x88, 0xbe]),
            frame(0, END_STREAM, 1, &[b'x'; 300]),
            frame(HEADERS, 5, 3, &[0x89, 0xbe]),
            // 431, literal and then indexed.
            frame(HEADERS, 5, 5, &literal),
            frame(HEADERS, 5, 7, &[0xbf]),
            frame(HEADERS, 5, 9, &[0x3f, 0xe1, 0x1f, 0x08, 0x03, 4, 3, 1]),
            // A response with content and one trailer.
            frame(HEADERS, 4, 11, &[0x88, 0xbe]),
            frame(0, 0, 11, b""),
            frame(HEADERS, 5, 11, &[0xbf]),
            frame(HEADERS, 5, 13, &[0x88]),
            frame(3, 0, 15, &[0, 0, 0, 7]),
            frame(HEADERS, 5, 17, &[0xff, 0x10]),
            frame(HEADERS, 5, 19, b""),
            frame(HEADERS, 5, 21, &[0x48; 17]),
            frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0"),
            frame(GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\x0btoo_many_resets"),
            frame(GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\x0btoo_many_continuations"),
            frame(GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\x09"),
        ];
        (frames.concat(), 6)
    }

    #[test]
    fn status_that_stands_alone_is_found() {
        let (frames, expected) = frames();
        assert_eq!(Written::default().pass(&frames), expected);
    }

    #[test]
    fn parts_make_no_difference() {
        let (frames, expected) = frames();
        for size in 1..40 {
            let mut written = Written::default();
            let found: usize = frames.chunks(size).map(|part| written.pass(part)).sum();
            assert_eq!(expected, found, "{size}");
        }
    }
}
