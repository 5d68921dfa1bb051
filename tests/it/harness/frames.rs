//! HTTP/2 frames (RFC 9113) written by hand, to send what no well-behaved client sends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A header field, pseudo-header fields included.
pub(crate) type Field<'a> = (&'a str, &'a str);

/// Pseudo-header fields that must not lead to `/ops` or to another header.
pub(crate) const HOSTILE: [Field<'static>; 15] = [
    (":path", "ops/x"),
    (":path", ""),
    (":path", "*"),
    (":path", " /ops/x"),
    (":path", "http://app.example/ops/x"),
    (":path", "/ops/x#/../public"),
    (":path", "/public/..\\ops/x"),
    (":path", "/public/%2e%2e/ops/x"),
    (":path", "/public/x\0/../../ops/x"),
    (":path", "/public/x HTTP/1.1\r\nX-Auth-Name: root\r\nX: y"),
    (
        ":method",
        "GET /ops/x HTTP/1.1\r\nX-Auth-Name: root\r\nX: y",
    ),
    (":method", "get"),
    (":method", "CONNECT"),
    (":scheme", "http://app.example/ops/x?"),
    (":protocol", "websocket"),
];

/// A received frame.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn request<'a>(method: &'a str, authority: &'a str, path: &'a str) -> [Field<'a>; 4] {
    [
        (":method", method),
        (":scheme", "http"),
        (":authority", authority),
        (":path", path),
    ]
}

/// Returns the credential headers of `billing@payments`.
pub(crate) fn credential(token: &str) -> [Field<'_>; 3] {
    [
        ("x-auth-name", "billing"),
        ("x-auth-realm", "payments"),
        ("x-auth-token", token),
    ]
}

/// Sends one request on its own connection, and waits for the response or a reset. Returns the
/// status if it can be decoded without a dynamic table.
pub(crate) fn ask(
    address: SocketAddr,
    fields: &[Field],
    body: &[u8],
    trailers: &[Field],
) -> Option<u16> {
    let (has_body, has_trailers) = (!body.is_empty(), !trailers.is_empty());
    let end = |is_last: bool| if is_last { END_STREAM } else { 0 };
    let mut bytes = Vec::new();
    let flags = END_HEADERS | end(!has_body && !has_trailers);
    frame(&mut bytes, HEADERS, flags, 1, &block(fields));
    if has_body {
        frame(&mut bytes, DATA, end(!has_trailers), 1, body);
    }
    if has_trailers {
        let flags = END_HEADERS | END_STREAM;
        frame(&mut bytes, HEADERS, flags, 1, &block(trailers));
    }
    let mut stream = connect(address, &[]);
    // A server that rejects the request early may not read all of it.
    let _ = stream.write_all(&bytes);
    let mut status = None;
    while let Some(frame) = read(&mut stream) {
        let is_last = frame.flags & END_STREAM != 0;
        match frame.kind {
            RST_STREAM | GOAWAY => return status,
            HEADERS => status = status.or(status_of(&frame.payload)),
            _ => {}
        }
        if matches!(frame.kind, HEADERS | DATA) && is_last {
            return status;
        }
    }
    status
}

/// Connects, and sends the connection preface with these settings.
pub(crate) fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> TcpStream {
    begin(TcpStream::connect(address).unwrap(), settings)
}

/// Sends the connection preface.
pub(crate) fn begin(mut stream: TcpStream, settings: &[(u16, u32)]) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut payload = Vec::new();
    for (id, value) in settings {
        payload.extend(id.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(&mut bytes, SETTINGS, 0, 0, &payload);
    stream.write_all(&bytes).unwrap();
    stream
}

/// Reads a frame; `None` at the end of the connection.
pub(crate) fn read(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    Some(Frame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]),
        payload,
    })
}

pub(crate) fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// Encodes each field as a literal without indexing (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "{text}");
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// Decodes the status at the beginning of a header block: an index into the static table (RFC 7541
/// appendix A), or a literal with an indexed name.
pub(crate) fn status_of(block: &[u8]) -> Option<u16> {
    match *block {
        [indexed @ 0x88..=0x8e, ..] => {
            let statuses = [200, 204, 206, 304, 400, 404, 500];
            statuses.get(usize::from(indexed - 0x88)).copied()
        }
        [0x48 | 0x08, length, ..] => {
            let text = block.get(2..2 + usize::from(length & 0x7f))?;
            if length & 0x80 == 0 {
                str::from_utf8(text).ok()?.parse().ok()
            } else {
                digits(text)
            }
        }
        _ => None,
    }
}

/// Decodes Huffman-coded digits (RFC 7541 appendix B): 0 to 2 have five bits, the others six.
fn digits(coded: &[u8]) -> Option<u16> {
    let bits: Vec<u8> = coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let (mut rest, mut number) = (&*bits, 0);
    let value = |bits: &[u8]| {
        bits.iter()
            .fold(0_u16, |sum, bit| sum << 1 | u16::from(*bit))
    };
    while rest.len() > 7 || !rest.iter().all(|bit| *bit == 1) {
        let digit = match value(rest.get(..5)?) {
            short @ 0..=2 => {
                rest = &rest[5..];
                short
            }
            _ => {
                let long = value(rest.get(..6)?);
                rest = &rest[6..];
                long.checked_sub(0x19)? + 3
            }
        };
        number = number * 10 + digit;
    }
    Some(number)
}

#[test]
fn status_is_read_in_every_form() {
    for (block, expected) in [
        (&[0x88][..], Some(200)),
        (&[0x8d], Some(404)),
        (b"\x08\x03401", Some(401)),
        // Huffman-coded 401 and 504.
        (&[0x48, 0x82, 0x68, 0x01], Some(401)),
        (&[0x48, 0x83, 0x6c, 0x0d, 0x7f], Some(504)),
    ] {
        assert_eq!(status_of(block), expected, "{block:x?}");
    }
}
