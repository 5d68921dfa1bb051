//! Reads and writes HTTP/1 as raw bytes, so that tests see exactly what is sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// Reads one message with `Content-Length` or a chunked body; `None` at the end of the stream.
pub(crate) fn read_message(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            break end + 4;
        }
        read_some(stream, &mut bytes)?;
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    if text.contains("transfer-encoding: chunked") {
        while !is_whole_in_chunks(&bytes[head..]) {
            read_some(stream, &mut bytes)?;
        }
    } else {
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.trim().parse().unwrap());
        while bytes.len() < head + length {
            read_some(stream, &mut bytes)?;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns whether a chunked body is complete, with its trailers and the empty line (RFC 9112
/// §7.1).
fn is_whole_in_chunks(mut body: &[u8]) -> bool {
    while let Some(end) = body.windows(2).position(|it| it == b"\r\n") {
        let size = str::from_utf8(&body[..end]).unwrap();
        let size = size.split(';').next().unwrap().trim();
        match usize::from_str_radix(size, 16).unwrap() {
            0 => return body.ends_with(b"\r\n\r\n"),
            size => match body.get(end + 2 + size + 2..) {
                Some(rest) => body = rest,
                None => return false,
            },
        }
    }
    false
}

fn read_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(n) => {
            bytes.extend_from_slice(&buffer[..n]);
            Some(())
        }
    }
}

/// A response as received.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// Returns the value of a header.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// Returns the body, without the sizes of its chunks.
    pub(crate) fn content(&self) -> String {
        if self.field("Transfer-Encoding") != Some("chunked") {
            return self.body.clone();
        }
        let (mut rest, mut text) = (self.body.as_str(), String::new());
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            let (part, after) = after.split_at(size);
            text.push_str(part);
            rest = after.trim_start_matches("\r\n");
        }
        text
    }
}

/// Returns the value of a header in the head of a message.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let head = head.split("\r\n\r\n").next().unwrap();
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Sends bytes as they are, and reads until the server closes the connection.
pub(crate) fn raw(address: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

pub(crate) fn parse(bytes: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text:?}"));
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Sends a GET with these header lines, each ended by CRLF, and reads the response.
pub(crate) fn get(address: SocketAddr, path: &str, fields: &str) -> Reply {
    send(address, "GET", path, fields, "")
}

pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    fields: &str,
    body: &str,
) -> Reply {
    let length = match body {
        "" => String::new(),
        body => format!("Content-Length: {}\r\n", body.len()),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{fields}{length}\r\n{body}"
    );
    raw(address, request.as_bytes())
}
