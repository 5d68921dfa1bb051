//! Follows the frames that an HTTP/2 client sends. Until a frame is complete, nothing after it can
//! be read, and no other frame may interrupt a header block (RFC 9113 §4.1, §4.3). hyper waits for
//! the rest without a limit.

/// The length of the connection preface without its SETTINGS frame (RFC 9113 §3.4).
const PREFACE: usize = 24;
/// The length of the head of a frame (RFC 9113 §4.1).
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The position in the frames of a client.
#[derive(Debug)]
pub(super) struct Arriving {
    head: [u8; HEAD],
    filled: usize,
    /// The number of bytes to skip: of the preface, or of a payload.
    skipped: usize,
    /// The payload is that of DATA, which has the deadlines of a request body.
    is_data: bool,
    /// A header block has begun, and its last frame has not.
    is_in_block: bool,
}

impl Default for Arriving {
    fn default() -> Self {
        Self {
            head: [0; HEAD],
            filled: 0,
            skipped: PREFACE,
            // The beginning of a connection has a deadline of its own.
            is_data: true,
            is_in_block: false,
        }
    }
}

impl Arriving {
    /// Follows received bytes. Returns whether everything but DATA was complete at some point within
    /// them.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut was_whole = !self.is_partial();
        while !bytes.is_empty() {
            let skipped = self.skipped.min(bytes.len());
            self.skipped -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            was_whole |= !self.is_partial();
            let room = self.head.get_mut(self.filled..).unwrap_or_default();
            let taken = room.len().min(bytes.len());
            for (to, from) in room.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.filled += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.filled == HEAD {
                self.filled = 0;
                self.begin_payload();
                was_whole |= !self.is_partial();
            }
        }
        was_whole
    }

    fn begin_payload(&mut self) {
        let [one, two, three, kind, flags, ..] = self.head;
        self.skipped = usize::from(one) << 16 | usize::from(two) << 8 | usize::from(three);
        self.is_data = kind == DATA;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.is_in_block = flags & END_HEADERS == 0;
        }
    }

    /// Returns whether a frame other than DATA, or a header block, has begun and is not complete.
    pub(super) const fn is_partial(&self) -> bool {
        self.is_in_block || self.filled > 0 || (self.skipped > 0 && !self.is_data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u8::try_from(payload).unwrap();
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD + payload, 0xff);
        bytes
    }

    fn begun() -> Arriving {
        let mut arriving = Arriving::default();
        arriving.pass(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert!(!arriving.is_partial());
        arriving
    }

    /// Passes bytes one by one. Returns after how many of them something was partial.
    fn partial(bytes: &[u8]) -> Vec<usize> {
        let mut arriving = begun();
        let mut partial = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            arriving.pass(&[*byte]);
            if arriving.is_partial() {
                partial.push(at + 1);
            }
        }
        let mut at_once = begun();
        at_once.pass(bytes);
        assert_eq!(at_once.is_partial(), arriving.is_partial());
        partial
    }

    #[test]
    fn preface_and_data_are_never_partial() {
        let mut arriving = Arriving::default();
        arriving.pass(b"PRI * HTT");
        assert!(!arriving.is_partial());
        let head: Vec<_> = (1..HEAD).collect();
        assert_eq!(partial(&frame(DATA, 0, 5)), head);
        assert_eq!(partial(&frame(DATA, 0, 0)), head);
    }

    #[test]
    fn other_frames_are_partial_until_their_last_byte() {
        for kind in [HEADERS, 3, 4, 6, 8] {
            let bytes = frame(kind, END_HEADERS, 5);
            assert_eq!(partial(&bytes), (1..HEAD + 5).collect::<Vec<_>>());
            let bytes = frame(kind, END_HEADERS, 0);
            assert_eq!(partial(&bytes), (1..HEAD).collect::<Vec<_>>());
        }
    }

    #[test]
    fn header_block_is_partial_until_its_last_frame_ends() {
        let bytes = [
            frame(HEADERS, 0, 3),
            frame(CONTINUATION, 0, 2),
            frame(CONTINUATION, END_HEADERS, 2),
        ];
        let bytes = bytes.concat();
        assert_eq!(partial(&bytes), (1..bytes.len()).collect::<Vec<_>>());
    }

    #[test]
    fn new_frame_behind_a_complete_one_is_noticed() {
        let mut arriving = begun();
        let headers = frame(HEADERS, END_HEADERS, 4);
        assert!(arriving.pass(&headers[..11]));
        assert!(!arriving.pass(&headers[11..12]));
        assert!(arriving.pass(&[&headers[12..], &headers[..3]].concat()));
        assert!(arriving.is_partial());
        assert!(!arriving.pass(&headers[3..5]));
    }
}
