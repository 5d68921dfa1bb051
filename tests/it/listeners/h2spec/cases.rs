//! The cases.

use super::{
    ACK, COMPRESSION, FLOW_CONTROL, FRAME_SIZE, PING, PRIORITY, PROTOCOL, PUSH_PROMISE, REFUSED,
    STREAM_CLOSED, WINDOW_UPDATE,
};
use crate::harness::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Field, GOAWAY, HEADERS, RST_STREAM, SETTINGS,
    block, frame, request,
};

const PADDED: u8 = 8;
const PRIORITIZED: u8 = 0x20;
const BOTH: u8 = END_STREAM | END_HEADERS;
const CANCEL: u32 = 8;
/// The settings (RFC 9113 §6.5.2).
const TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_STREAMS: u16 = 3;
const WINDOW: u16 = 4;
const MAX_FRAME: u16 = 5;
const MAX_LIST: u16 = 6;

const NOTHING: [u8; 8] = [0; 8];
const NAME: [u8; 8] = *b"h2spec\0\0";

pub(super) enum Step {
    Send(Vec<u8>),
    /// The server's first SETTINGS.
    Settings,
    /// The ACK of the preface's SETTINGS, or of the next.
    Acked,
    Ponged([u8; 8]),
    PongedOrEnded([u8; 8]),
    /// The headers of the response on stream 1.
    Answered,
    /// The end of stream 1.
    Ended,
    /// DATA of this length.
    Data(usize),
    SomeData,
    /// An error of the connection with one of these codes.
    Fails(&'static [u32]),
    /// An error of the stream or of the connection with one of these codes.
    Resets(&'static [u32]),
}

use Step::{Acked, Answered, Data, Ended, Fails, Ponged, PongedOrEnded, Resets, SomeData};

pub(super) struct Case {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

/// Builds frames for a path.
struct Frames<'a> {
    path: &'a str,
}

/// Returns a step that sends one frame.
fn one(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Step {
    let mut bytes = Vec::new();
    frame(&mut bytes, kind, flags, stream, payload);
    Step::Send(bytes)
}

fn data(flags: u8, stream: u32, payload: &[u8]) -> Step {
    one(DATA, flags, stream, payload)
}

fn ping(data: [u8; 8]) -> Step {
    one(PING, 0, 0, &data)
}

fn reset(stream: u32) -> Step {
    one(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

fn window(stream: u32, more: u32) -> Step {
    one(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

fn settings(values: &[(u16, u32)]) -> Step {
    let pair = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let payload: Vec<u8> = values.iter().flat_map(pair).collect();
    one(SETTINGS, 0, 0, &payload)
}

/// A PRIORITY frame. The weight is one less than the value it stands for.
fn priority(stream: u32, parent: u32, weight: u8) -> Step {
    one(PRIORITY, 0, stream, &depends(parent, weight))
}

fn depends(parent: u32, weight: u8) -> Vec<u8> {
    [&parent.to_be_bytes()[..], &[weight]].concat()
}

/// A part of a header list.
fn more() -> Vec<u8> {
    block(&[("x-dummy0", "x")])
}

/// Headers of more than 16 KiB, with lengths in two bytes.
fn long() -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in b'0'..=b'4' {
        bytes.extend([0, 8]);
        bytes.extend(*b"x-dummy");
        bytes.push(number);
        // 4,000 is 127 + 3,873, and 3,873 is 33 + 30 × 128.
        bytes.extend([127, 0x80 | 33, 30]);
        bytes.extend(vec![b'x'; 4000]);
    }
    bytes
}

impl Frames<'_> {
    fn fields(&self, method: &'static str) -> Vec<Field<'_>> {
        request(method, "a", self.path).to_vec()
    }

    fn get_block(&self) -> Vec<u8> {
        block(&self.fields("GET"))
    }

    /// HEADERS of a GET on a stream.
    fn get_on(&self, flags: u8, stream: u32) -> Step {
        one(HEADERS, flags, stream, &self.get_block())
    }

    /// A whole GET on stream 1.
    fn get(&self) -> Step {
        self.get_on(BOTH, 1)
    }

    fn post(&self, flags: u8) -> Step {
        one(HEADERS, flags, 1, &block(&self.fields("POST")))
    }

    /// A GET with more fields.
    fn with(&self, more: &[Field]) -> Step {
        let fields = [&self.fields("GET")[..], more].concat();
        one(HEADERS, BOTH, 1, &block(&fields))
    }

    /// A GET without the pseudo-header at this place.
    fn without(&self, place: usize) -> Step {
        let mut fields = self.fields("GET");
        fields.remove(place);
        one(HEADERS, BOTH, 1, &block(&fields))
    }

    /// A POST with this Content-Length, without its body.
    fn announcing(&self, length: &str) -> Step {
        let fields = [&self.fields("POST")[..], &[("content-length", length)]].concat();
        one(HEADERS, END_HEADERS, 1, &block(&fields))
    }

    /// A GET with these bytes before and behind its fields.
    fn coded(&self, before: &[u8], behind: &[u8]) -> Step {
        let block = [before, &self.get_block(), behind].concat();
        one(HEADERS, BOTH, 1, &block)
    }
}

/// Returns all cases, for requests of this path.
pub(super) fn all(path: &str) -> Vec<Case> {
    let frames = Frames { path };
    let groups = [
        ("generic", generic(&frames)),
        ("generic 5", coding(&frames)),
        ("http2", framing(&frames)),
        ("http2", streams(&frames)),
        ("http2", definitions(&frames)),
        ("http2", flow(&frames)),
        ("http2", continuation(&frames)),
        ("http2", messages(&frames)),
        ("hpack", compression(&frames)),
    ];
    let cases = groups.into_iter().flat_map(|(group, cases)| {
        cases.into_iter().map(move |(section, steps)| Case {
            name: format!("{group} {section}"),
            steps,
        })
    });
    cases.collect()
}

type Cases = Vec<(&'static str, Vec<Step>)>;

fn generic(frames: &Frames) -> Cases {
    let get = || frames.get();
    let block = frames.get_block();
    let settings_of_all = [
        (TABLE_SIZE, 4096),
        (ENABLE_PUSH, 1),
        (MAX_STREAMS, 100),
        (WINDOW, 65_535),
        (MAX_FRAME, 16_384),
        (MAX_LIST, 100),
    ];
    let padded = [&[8][..], &block, &NOTHING].concat();
    let prioritized = [&depends(0, 255)[..], &block].concat();
    let trailing = [&frames.fields("POST")[..], &[("trailer", "x-test")]].concat();
    let trailing = one(HEADERS, END_HEADERS, 1, &self::block(&trailing));
    let trailers = one(HEADERS, BOTH, 1, &self::block(&[("x-test", "ok")]));
    let part = |flags, range: std::ops::Range<usize>| one(CONTINUATION, flags, 1, &block[range]);
    let begun = || one(HEADERS, END_STREAM, 1, &block[..5]);
    vec![
        ("1 preface", vec![Step::Settings]),
        (
            "2 PRIORITY on an idle stream",
            vec![priority(1, 0, 255), ping(NOTHING), Ponged(NOTHING)],
        ),
        (
            "2 WINDOW_UPDATE on a half-closed stream",
            vec![settings(&[(WINDOW, 0)]), get(), window(1, 1), SomeData],
        ),
        (
            "2 PRIORITY on a half-closed stream",
            vec![
                settings(&[(WINDOW, 0)]),
                get(),
                priority(1, 0, 255),
                window(1, 1),
                SomeData,
            ],
        ),
        (
            "2 RST_STREAM on a half-closed stream",
            vec![get(), reset(1), ping(NOTHING), PongedOrEnded(NOTHING)],
        ),
        (
            "2 PRIORITY on a closed stream",
            vec![
                get(),
                Ended,
                priority(1, 0, 255),
                ping(NOTHING),
                Ponged(NOTHING),
            ],
        ),
        (
            "3.1 DATA",
            vec![
                frames.post(END_HEADERS),
                data(END_STREAM, 1, b"test"),
                Answered,
            ],
        ),
        (
            "3.1 several DATA",
            vec![
                frames.post(END_HEADERS),
                data(0, 1, b"test"),
                data(END_STREAM, 1, b"test"),
                Answered,
            ],
        ),
        (
            "3.1 padded DATA",
            vec![
                frames.post(END_HEADERS),
                data(END_STREAM | PADDED, 1, b"\x05test\0\0\0\0\0"),
                Answered,
            ],
        ),
        ("3.2 HEADERS", vec![get(), Answered]),
        (
            "3.2 padded HEADERS",
            vec![one(HEADERS, BOTH | PADDED, 1, &padded), Answered],
        ),
        (
            "3.2 HEADERS with priority",
            vec![one(HEADERS, BOTH | PRIORITIZED, 1, &prioritized), Answered],
        ),
        ("3.3 priority 1", vec![priority(1, 0, 0), get(), Answered]),
        (
            "3.3 priority 256",
            vec![priority(1, 0, 255), get(), Answered],
        ),
        ("3.3 dependency", vec![priority(3, 1, 0), get(), Answered]),
        (
            "3.3 exclusive",
            vec![priority(1, 1 << 31, 0), get(), Answered],
        ),
        (
            "3.3 PRIORITY of a later stream",
            vec![priority(3, 0, 255), get(), Answered],
        ),
        (
            "3.4 RST_STREAM",
            vec![
                frames.get_on(END_HEADERS, 1),
                reset(1),
                ping(NOTHING),
                PongedOrEnded(NOTHING),
            ],
        ),
        (
            "3.5 SETTINGS",
            vec![Acked, settings(&settings_of_all), Acked],
        ),
        ("3.7 PING", vec![ping(NAME), Ponged(NAME)]),
        (
            "3.8 GOAWAY",
            vec![
                one(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0h2spec"),
                ping(NAME),
                PongedOrEnded(NAME),
            ],
        ),
        (
            "3.9 WINDOW_UPDATE of the connection",
            vec![window(0, 1), ping(NOTHING), Ponged(NOTHING)],
        ),
        (
            "3.9 WINDOW_UPDATE of a stream",
            vec![get(), window(1, 1), Answered],
        ),
        (
            "3.10 CONTINUATION",
            vec![begun(), part(END_HEADERS, 5..block.len()), Answered],
        ),
        (
            "3.10 several CONTINUATION",
            vec![
                begun(),
                part(0, 5..10),
                part(END_HEADERS, 10..block.len()),
                Answered,
            ],
        ),
        ("4 GET", vec![get(), Answered]),
        (
            "4 HEAD",
            vec![
                one(HEADERS, BOTH, 1, &self::block(&frames.fields("HEAD"))),
                Answered,
            ],
        ),
        (
            "4 POST",
            vec![
                frames.post(END_HEADERS),
                data(END_STREAM, 1, b"test"),
                Answered,
            ],
        ),
        (
            "4 POST with trailers",
            vec![trailing, data(0, 1, b"test"), trailers, Answered],
        ),
    ]
}

/// Each way to code a header.
fn coding(frames: &Frames) -> Cases {
    let with = |bytes: &[u8]| vec![frames.coded(b"", bytes), Answered];
    let agent = b"\x0auser-agent\x06h2spec";
    let agent_coded = b"\x87\xb5\x05\xb1\x61\xcc\x5a\x93\x84\x9c\x48\xac\xa4";
    let test = b"\x06x-test\x06h2spec";
    let test_coded = b"\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4";
    let literal = |first: u8, rest: &[u8]| with(&[&[first], rest].concat());
    vec![
        ("1 indexed", with(b"\xba")),
        ("2 incremental, indexed name", literal(0x40, agent_coded)),
        ("3 incremental, indexed name, Huffman", literal(0x40, agent)),
        ("4 incremental, new name", literal(0x40, test)),
        (
            "5 incremental, new name, Huffman",
            literal(0x40, test_coded),
        ),
        ("6 not indexed, indexed name", literal(0, agent)),
        (
            "7 not indexed, indexed name, Huffman",
            literal(0, agent_coded),
        ),
        ("8 not indexed, new name", literal(0, test)),
        ("9 not indexed, new name, Huffman", literal(0, test_coded)),
        ("10 never indexed, indexed name", literal(0x10, agent)),
        (
            "11 never indexed, indexed name, Huffman",
            literal(0x10, agent_coded),
        ),
        ("12 never indexed, new name", literal(0x10, test)),
        (
            "13 never indexed, new name, Huffman",
            literal(0x10, test_coded),
        ),
        (
            "14 size of the table",
            vec![frames.coded(b"\x3f\x61", b""), Answered],
        ),
        (
            "15 sizes of the table",
            vec![frames.coded(b"\x3f\x61\x3f\xe1\x1f", b""), Answered],
        ),
    ]
}

fn framing(frames: &Frames) -> Cases {
    let unknown = || one(0x16, 0, 0, &NOTHING);
    let large = [&frames.get_block()[..], &long()].concat();
    vec![
        ("3.5 preface", vec![Step::Settings]),
        (
            "4.1 unknown type",
            vec![unknown(), ping(NOTHING), Ponged(NOTHING)],
        ),
        (
            "4.1 undefined flag",
            vec![one(PING, 0x16, 0, &NOTHING), Ponged(NOTHING)],
        ),
        (
            "4.1 reserved bit",
            vec![one(PING, 0x16, 1 << 31, &NOTHING), Ponged(NOTHING)],
        ),
        (
            "4.2 DATA of 2^14 bytes",
            vec![
                frames.post(END_HEADERS),
                data(END_STREAM, 1, &[b'x'; 16_384]),
                Answered,
            ],
        ),
        (
            "4.2 DATA of more",
            vec![
                frames.post(END_HEADERS),
                data(END_STREAM, 1, &[b'x'; 16_385]),
                Resets(&[FRAME_SIZE]),
            ],
        ),
        (
            "4.2 HEADERS of more",
            vec![one(HEADERS, BOTH, 1, &large), Fails(&[FRAME_SIZE])],
        ),
        (
            "4.3 broken block",
            vec![one(HEADERS, BOTH, 1, b"\x40"), Fails(&[COMPRESSION])],
        ),
        (
            "4.3 PRIORITY within a block",
            vec![
                frames.get_on(0, 1),
                priority(1, 0, 255),
                one(CONTINUATION, END_HEADERS, 1, &more()),
                Fails(&[PROTOCOL]),
            ],
        ),
        (
            "4.3 other HEADERS within a block",
            vec![
                frames.get_on(0, 1),
                frames.get_on(BOTH, 3),
                one(CONTINUATION, END_HEADERS, 1, &more()),
                Fails(&[PROTOCOL]),
            ],
        ),
    ]
}

fn streams(frames: &Frames) -> Cases {
    let get = || frames.get();
    let open = || frames.get_on(END_HEADERS, 1);
    let test = |stream| data(END_STREAM, stream, b"test");
    let last = |fragment: &[u8]| one(CONTINUATION, END_HEADERS, 1, fragment);
    let block = frames.get_block();
    let itself = [&depends(1, 255)[..], &block].concat();
    // 32 are allowed.
    let many = (0..=32).map(|number| frames.get_on(BOTH, 1 + 2 * number));
    let mut too_many = vec![settings(&[(WINDOW, 0)])];
    too_many.extend(many);
    too_many.push(Resets(&[PROTOCOL, REFUSED]));
    vec![
        (
            "5.1 idle: DATA",
            vec![test(1), Resets(&[PROTOCOL, STREAM_CLOSED])],
        ),
        ("5.1 idle: RST_STREAM", vec![reset(1), Fails(&[PROTOCOL])]),
        (
            "5.1 idle: WINDOW_UPDATE",
            vec![window(1, 100), Fails(&[PROTOCOL])],
        ),
        (
            "5.1 idle: CONTINUATION",
            vec![last(&block), Fails(&[PROTOCOL])],
        ),
        (
            "5.1 half closed: DATA",
            vec![get(), test(1), Resets(&[STREAM_CLOSED])],
        ),
        (
            "5.1 half closed: HEADERS",
            vec![get(), get(), Resets(&[STREAM_CLOSED])],
        ),
        (
            "5.1 half closed: CONTINUATION",
            vec![get(), last(&block), Resets(&[STREAM_CLOSED, PROTOCOL])],
        ),
        (
            "5.1 reset: DATA",
            vec![open(), reset(1), test(1), Resets(&[STREAM_CLOSED])],
        ),
        (
            "5.1 reset: HEADERS",
            vec![open(), reset(1), get(), Resets(&[STREAM_CLOSED])],
        ),
        (
            "5.1 reset: CONTINUATION",
            vec![
                open(),
                reset(1),
                last(&more()),
                Resets(&[STREAM_CLOSED, PROTOCOL]),
            ],
        ),
        (
            "5.1 closed: DATA",
            vec![get(), Ended, test(1), Resets(&[STREAM_CLOSED])],
        ),
        (
            "5.1 closed: HEADERS",
            vec![get(), Ended, get(), Fails(&[STREAM_CLOSED])],
        ),
        (
            "5.1 closed: CONTINUATION",
            vec![
                get(),
                Ended,
                last(&more()),
                Fails(&[STREAM_CLOSED, PROTOCOL]),
            ],
        ),
        (
            "5.1.1 even number",
            vec![frames.get_on(BOTH, 2), Fails(&[PROTOCOL])],
        ),
        (
            "5.1.1 smaller number",
            vec![
                frames.get_on(BOTH, 5),
                frames.get_on(BOTH, 3),
                Fails(&[PROTOCOL]),
            ],
        ),
        ("5.1.2 too many", too_many),
        (
            "5.3.1 HEADERS that depends on itself",
            vec![
                one(HEADERS, BOTH | PRIORITIZED, 1, &itself),
                Resets(&[PROTOCOL]),
            ],
        ),
        (
            "5.3.1 PRIORITY that depends on itself",
            vec![priority(1, 1, 255), Resets(&[PROTOCOL])],
        ),
        (
            "5.4.1 error",
            vec![one(PING, 0, 3, &NOTHING), Fails(&[PROTOCOL])],
        ),
        (
            "5.5 unknown frame",
            vec![one(0x16, 0, 0, &NOTHING), ping(NOTHING), Ponged(NOTHING)],
        ),
        (
            "5.5 unknown frame within a block",
            vec![
                frames.get_on(END_STREAM, 1),
                one(0x16, 0, 0, &NOTHING),
                Fails(&[PROTOCOL]),
            ],
        ),
    ]
}

fn definitions(frames: &Frames) -> Cases {
    let get = || frames.get();
    let block = frames.get_block();
    let padding = u8::try_from(block.len()).unwrap() + 2;
    let padded = [&[padding][..], &block].concat();
    let setting = |id, value, code| vec![settings(&[(id, value)]), Fails(code)];
    vec![
        (
            "6.1 DATA on stream 0",
            vec![data(END_STREAM, 0, b"test"), Fails(&[PROTOCOL])],
        ),
        (
            "6.1 DATA on a half-closed stream",
            vec![
                frames.post(BOTH),
                data(END_STREAM, 1, b"test"),
                Resets(&[STREAM_CLOSED]),
            ],
        ),
        (
            "6.1 padding",
            vec![
                frames.announcing("4"),
                data(END_STREAM | PADDED, 1, b"\x06Test"),
                Fails(&[PROTOCOL]),
            ],
        ),
        (
            "6.2 PRIORITY within a block",
            vec![
                frames.get_on(0, 1),
                priority(1, 0, 255),
                one(CONTINUATION, END_HEADERS, 1, &more()),
                Fails(&[PROTOCOL]),
            ],
        ),
        (
            "6.2 other HEADERS within a block",
            vec![
                frames.get_on(0, 1),
                frames.get_on(BOTH, 3),
                one(CONTINUATION, END_HEADERS, 1, &more()),
                Fails(&[PROTOCOL]),
            ],
        ),
        (
            "6.2 HEADERS on stream 0",
            vec![frames.get_on(BOTH, 0), Fails(&[PROTOCOL])],
        ),
        (
            "6.2 padding",
            vec![one(HEADERS, BOTH | PADDED, 1, &padded), Resets(&[PROTOCOL])],
        ),
        (
            "6.3 PRIORITY on stream 0",
            vec![priority(0, 0, 255), Fails(&[PROTOCOL])],
        ),
        (
            "6.3 length of PRIORITY",
            vec![
                get(),
                one(PRIORITY, 0, 1, b"\x80\0\0\x01"),
                Resets(&[FRAME_SIZE]),
            ],
        ),
        (
            "6.4 RST_STREAM on stream 0",
            vec![reset(0), Fails(&[PROTOCOL])],
        ),
        (
            "6.4 RST_STREAM on an idle stream",
            vec![reset(1), Fails(&[PROTOCOL])],
        ),
        (
            "6.4 length of RST_STREAM",
            vec![
                get(),
                one(RST_STREAM, 0, 1, b"\0\0\0"),
                Resets(&[FRAME_SIZE]),
            ],
        ),
        (
            "6.5 ACK with a payload",
            vec![one(SETTINGS, ACK, 0, b"\0"), Fails(&[FRAME_SIZE])],
        ),
        (
            "6.5 SETTINGS on stream 1",
            vec![one(SETTINGS, 0, 1, b"\0\x03\0\0\0\x64"), Fails(&[PROTOCOL])],
        ),
        (
            "6.5 length of SETTINGS",
            vec![
                one(SETTINGS, 0, 0, b"\0\x03\0"),
                Resets(&[PROTOCOL, FRAME_SIZE]),
            ],
        ),
        ("6.5.2 ENABLE_PUSH", setting(ENABLE_PUSH, 2, &[PROTOCOL])),
        (
            "6.5.2 INITIAL_WINDOW_SIZE",
            setting(WINDOW, 1 << 31, &[FLOW_CONTROL]),
        ),
        (
            "6.5.2 small MAX_FRAME_SIZE",
            setting(MAX_FRAME, 16_383, &[PROTOCOL]),
        ),
        (
            "6.5.2 large MAX_FRAME_SIZE",
            setting(MAX_FRAME, 16_777_216, &[PROTOCOL]),
        ),
        (
            "6.5.2 unknown setting",
            vec![settings(&[(0xff, 1)]), ping(NOTHING), Ponged(NOTHING)],
        ),
        (
            "6.5.3 several values",
            vec![
                Acked,
                settings(&[(WINDOW, 100), (WINDOW, 1)]),
                Acked,
                get(),
                Data(1),
            ],
        ),
        (
            "6.5.3 ACK",
            vec![Acked, settings(&[(ENABLE_PUSH, 0)]), Acked],
        ),
        ("6.7 PING", vec![ping(NAME), Ponged(NAME)]),
        (
            "6.7 PING with ACK",
            vec![one(PING, ACK, 0, b"invalid\0"), ping(NAME), Ponged(NAME)],
        ),
        (
            "6.7 PING on stream 1",
            vec![one(PING, 0, 1, &NOTHING), Fails(&[PROTOCOL])],
        ),
        (
            "6.7 length of PING",
            vec![one(PING, 0, 0, &[0; 6]), Fails(&[FRAME_SIZE])],
        ),
        (
            "6.8 GOAWAY on stream 1",
            vec![one(GOAWAY, 0, 1, &NOTHING), Fails(&[PROTOCOL])],
        ),
    ]
}

fn flow(frames: &Frames) -> Cases {
    let get = || frames.get();
    let most = (1 << 31) - 1;
    vec![
        ("6.9 increment of 0", vec![window(0, 0), Fails(&[PROTOCOL])]),
        (
            "6.9 increment of 0 on a stream",
            vec![
                frames.get_on(END_HEADERS, 1),
                window(1, 0),
                Resets(&[PROTOCOL]),
            ],
        ),
        (
            "6.9 length of WINDOW_UPDATE",
            vec![one(WINDOW_UPDATE, 0, 0, b"\0\0\x01"), Fails(&[FRAME_SIZE])],
        ),
        (
            "6.9.1 window of 1",
            vec![Acked, settings(&[(WINDOW, 1)]), Acked, get(), Data(1)],
        ),
        (
            "6.9.1 window above the maximum",
            vec![window(0, most), window(0, most), Fails(&[FLOW_CONTROL])],
        ),
        (
            "6.9.1 window of a stream above the maximum",
            vec![
                frames.get_on(END_HEADERS, 1),
                window(1, most),
                window(1, most),
                Resets(&[FLOW_CONTROL]),
            ],
        ),
        (
            "6.9.2 later change",
            vec![
                Acked,
                settings(&[(WINDOW, 0)]),
                Acked,
                get(),
                settings(&[(WINDOW, 1)]),
                Data(1),
            ],
        ),
        (
            "6.9.2 negative window",
            vec![
                Acked,
                settings(&[(WINDOW, 3)]),
                Acked,
                get(),
                SomeData,
                settings(&[(WINDOW, 2)]),
                Acked,
                window(1, 2),
                Data(1),
            ],
        ),
        (
            "6.9.2 INITIAL_WINDOW_SIZE above the maximum",
            vec![settings(&[(WINDOW, 1 << 31)]), Fails(&[FLOW_CONTROL])],
        ),
    ]
}

fn continuation(frames: &Frames) -> Cases {
    let next = |flags, stream| one(CONTINUATION, flags, stream, &more());
    let begun = || frames.get_on(END_STREAM, 1);
    vec![
        (
            "6.10 several",
            vec![begun(), next(0, 1), next(END_HEADERS, 1), Answered],
        ),
        (
            "6.10 followed by DATA",
            vec![
                frames.post(0),
                next(0, 1),
                data(END_STREAM, 1, b"test"),
                Fails(&[PROTOCOL]),
            ],
        ),
        (
            "6.10 on stream 0",
            vec![begun(), next(END_HEADERS, 0), Fails(&[PROTOCOL])],
        ),
        (
            "6.10 behind the end of HEADERS",
            vec![frames.get(), next(END_HEADERS, 1), Fails(&[PROTOCOL])],
        ),
        (
            "6.10 behind the end of CONTINUATION",
            vec![
                begun(),
                next(END_HEADERS, 1),
                next(END_HEADERS, 1),
                Fails(&[PROTOCOL]),
            ],
        ),
        (
            "6.10 behind DATA",
            vec![
                frames.post(0),
                data(END_STREAM, 1, b"test"),
                next(0, 1),
                next(END_HEADERS, 0),
                Fails(&[PROTOCOL]),
            ],
        ),
        (
            "7 unknown code in GOAWAY",
            vec![
                one(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\xff"),
                ping(NAME),
                PongedOrEnded(NAME),
            ],
        ),
        (
            "7 unknown code in RST_STREAM",
            vec![
                frames.post(END_HEADERS),
                one(RST_STREAM, 0, 1, b"\0\0\0\xff"),
                ping(NOTHING),
                PongedOrEnded(NOTHING),
            ],
        ),
    ]
}

fn messages(frames: &Frames) -> Cases {
    let rejected = |step| vec![step, Resets(&[PROTOCOL])];
    let trailers = |fields: &[Field]| {
        vec![
            frames.post(END_HEADERS),
            data(0, 1, b"test"),
            one(HEADERS, END_HEADERS, 1, &block(fields)),
            Resets(&[PROTOCOL]),
        ]
    };
    let late = [&[("x-test", "ok")][..], &frames.fields("GET")].concat();
    let mut empty = frames.fields("GET");
    empty[3].1 = "";
    let promise = [&[0, 0, 0, 3][..], &frames.get_block()].concat();
    vec![
        (
            "8.1 second HEADERS without END_STREAM",
            trailers(&[("x-test", "ok")]),
        ),
        (
            "8.1.2 upper case",
            rejected(frames.with(&[("X-TEST", "ok")])),
        ),
        (
            "8.1.2.1 unknown pseudo-header",
            rejected(frames.with(&[(":test", "ok")])),
        ),
        (
            "8.1.2.1 pseudo-header of a response",
            rejected(frames.with(&[(":status", "200")])),
        ),
        (
            "8.1.2.1 pseudo-header in trailers",
            trailers(&[(":method", "POST")]),
        ),
        (
            "8.1.2.1 late pseudo-headers",
            rejected(one(HEADERS, BOTH, 1, &block(&late))),
        ),
        (
            "8.1.2.2 Connection",
            rejected(frames.with(&[("connection", "keep-alive")])),
        ),
        (
            "8.1.2.2 TE",
            rejected(frames.with(&[("trailers", "test"), ("te", "trailers, deflate")])),
        ),
        (
            "8.1.2.3 empty :path",
            rejected(one(HEADERS, BOTH, 1, &block(&empty))),
        ),
        ("8.1.2.3 no :method", rejected(frames.without(0))),
        ("8.1.2.3 no :scheme", rejected(frames.without(1))),
        ("8.1.2.3 no :path", rejected(frames.without(3))),
        (
            "8.1.2.3 two :method",
            rejected(frames.with(&[(":method", "GET")])),
        ),
        (
            "8.1.2.3 two :scheme",
            rejected(frames.with(&[(":scheme", "http")])),
        ),
        (
            "8.1.2.3 two :path",
            rejected(frames.with(&[(":path", frames.path)])),
        ),
        (
            "8.1.2.6 length of one DATA",
            vec![
                frames.announcing("1"),
                data(END_STREAM, 1, b"test"),
                Resets(&[PROTOCOL]),
            ],
        ),
        (
            "8.1.2.6 length of several DATA",
            vec![
                frames.announcing("1"),
                data(0, 1, b"test"),
                data(END_STREAM, 1, b"test"),
                Resets(&[PROTOCOL]),
            ],
        ),
        (
            "8.2 PUSH_PROMISE",
            vec![
                one(PUSH_PROMISE, END_HEADERS, 1, &promise),
                Fails(&[PROTOCOL]),
            ],
        ),
    ]
}

fn compression(frames: &Frames) -> Cases {
    let broken =
        |before: &[u8], behind: &[u8]| vec![frames.coded(before, behind), Fails(&[COMPRESSION])];
    let test = b"\x00\x85\xf2\xb2\x4a\x84\xff";
    let value = |coded: &[u8]| broken(b"", &[test, coded].concat());
    vec![
        ("2.3.3 invalid index", broken(b"", b"\xc6")),
        (
            "2.3.3 invalid index of a literal",
            broken(b"", b"\x7f\x07\x00"),
        ),
        ("4.2 size of the table at the end", broken(b"", b"\x21")),
        ("5.2 long padding", value(b"\x84\x49\x50\x9f\xff")),
        ("5.2 padding of zeros", value(b"\x83\x49\x50\x90")),
        (
            "5.2 end of string",
            value(b"\x87\x49\x51\xff\xff\xff\xfa\x7f"),
        ),
        ("6.1 index 0", broken(b"", b"\x80")),
        // 4,097 is 31 + 4,066, and 4,066 is 98 + 31 × 128.
        ("6.3 size of the table", broken(b"\x3f\xe2\x1f", b"")),
    ]
}
