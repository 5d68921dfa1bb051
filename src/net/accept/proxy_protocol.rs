//! The PROXY protocol, versions 1 and 2: a load balancer first sends the address of its client.

use std::net::{IpAddr, SocketAddr};

use ppp::{HeaderResult, PartialResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::start::BadStart;

/// The maximum length of a version 2 header in bytes, including extensions.
const LONGEST: usize = 4096;
/// The maximum length of a version 1 header in bytes.
const LONGEST_LINE: usize = 107;

/// Reads the header from a stream. Returns the bytes read after it, and the address in it.
pub(super) async fn take<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<(Vec<u8>, Option<SocketAddr>), BadStart> {
    let mut bytes = Vec::new();
    loop {
        let mut more = [0; 256];
        match stream.read(&mut more).await {
            Ok(read @ 1..) => bytes.extend_from_slice(more.get(..read).unwrap_or_default()),
            _ => return Err(BadStart::Gone),
        }
        if is_whole(&bytes)? {
            let header = HeaderResult::parse(&bytes);
            let (length, source) = parsed(&header).ok_or(BadStart::NoProxyHeader)?;
            return Ok((bytes.split_off(length), source));
        }
    }
}

/// Returns whether the header is complete; an error if the bytes cannot be a header.
fn is_whole(bytes: &[u8]) -> Result<bool, BadStart> {
    let is_begun = |start: &[u8]| bytes.starts_with(start) || start.starts_with(bytes);
    // The parser rejects half a version 1 line.
    let (is_whole, longest) = if is_begun(v1::PROTOCOL_PREFIX.as_bytes()) {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let line = end.and_then(|end| bytes.get(..end));
        // The line must end with CRLF, however the bytes are split.
        if line.is_some_and(|it| !it.ends_with(b"\r") || it.len() >= LONGEST_LINE) {
            return Err(BadStart::NoProxyHeader);
        }
        (line.is_some(), LONGEST_LINE)
    } else if is_begun(v2::PROTOCOL_PREFIX) {
        (HeaderResult::parse(bytes).is_complete(), LONGEST)
    } else {
        return Err(BadStart::NoProxyHeader);
    };
    if !is_whole && bytes.len() >= longest {
        return Err(BadStart::NoProxyHeader);
    }
    Ok(is_whole)
}

/// Returns the length of a header and the address in it; `None` if it is not a header.
fn parsed(header: &HeaderResult<'_>) -> Option<(usize, Option<SocketAddr>)> {
    match header {
        HeaderResult::V1(Ok(header)) => {
            let is_unknown = matches!(header.addresses, v1::Addresses::Unknown);
            if !is_unknown && !has_plain_ports(&header.header) {
                return None;
            }
            let source = match header.addresses {
                v1::Addresses::Unknown => None,
                v1::Addresses::Tcp4(it) => Some(address(it.source_address, it.source_port)),
                v1::Addresses::Tcp6(it) => Some(address(it.source_address, it.source_port)),
            };
            Some((header.header.len(), source))
        }
        HeaderResult::V2(Ok(header)) => {
            let source = match (header.command, header.addresses) {
                (v2::Command::Local, _) => None,
                (_, v2::Addresses::IPv4(it)) => Some(address(it.source_address, it.source_port)),
                (_, v2::Addresses::IPv6(it)) => Some(address(it.source_address, it.source_port)),
                _ => None,
            };
            Some((header.len(), source))
        }
        _ => None,
    }
}

/// Returns whether both ports of a version 1 line are decimal numbers without leading zeros, as the
/// specification requires. The parser also accepts a sign.
fn has_plain_ports(line: &str) -> bool {
    let mut ports = line.trim_end().rsplit(' ').take(2);
    ports.all(|port| {
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        is_number && (port == "0" || !port.starts_with('0'))
    })
}

fn address(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

/// Parses a header byte by byte, and in one call.
///
/// # Panics
/// The results differ, or the header is longer than the input.
#[cfg(any(test, fuzzing))]
pub fn fuzz(data: &[u8]) {
    let whole = (1..=data.len()).find_map(|end| {
        let begun = data.get(..end)?;
        match is_whole(begun) {
            Ok(false) => None,
            Ok(true) => Some(parsed(&HeaderResult::parse(begun))),
            Err(_) => Some(None),
        }
    });
    let at_once = match is_whole(data) {
        Ok(true) => parsed(&HeaderResult::parse(data)),
        Ok(false) | Err(_) => None,
    };
    if let Some(Some((length, source))) = whole {
        assert!(length <= data.len());
        assert_eq!(at_once, Some((length, source)));
    } else {
        assert_eq!(at_once, None, "{whole:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
        parsed(&HeaderResult::parse(bytes))
    }

    #[test]
    fn both_versions_contain_the_source() {
        let source = "203.0.113.7:4711".parse().ok();
        let one = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\nGET";
        assert_eq!(read_all(one), Some((one.len() - 3, source)));
        let mut two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        two.extend([203, 0, 113, 7, 192, 0, 2, 1, 18, 103, 1, 187]);
        two.extend(b"GET");
        assert_eq!(read_all(&two), Some((28, source)));
    }

    #[test]
    fn load_balancer_that_asks_for_itself_keeps_its_address() {
        assert_eq!(read_all(b"PROXY UNKNOWN\r\n"), Some((15, None)));
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0";
        assert_eq!(read_all(local), Some((16, None)));
    }

    #[test]
    fn line_ends_in_one_way_however_it_comes() {
        let line = b"PROXY UNKNOWN x\n\r\n";
        assert!(is_whole(line).is_err() && is_whole(&line[..16]).is_err());
        let longest = [&b"PROXY UNKNOWN "[..], &[b'x'; 91], b"\r\n"].concat();
        assert_eq!(longest.len(), LONGEST_LINE);
        assert_eq!(is_whole(&longest).ok(), Some(true));
        let longer = [&b"PROXY UNKNOWN "[..], &[b'x'; 92], b"\r\n"].concat();
        assert!(is_whole(&longer).is_err() && is_whole(&longer[..107]).is_err());
    }

    #[test]
    fn anything_else_is_no_header() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 203.0.113.7 192.0.2.1 99999 443\r\n",
            b"PROXY TCP4 203.0.113.7 x 1 2\r\n",
            b"proxy TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 2\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 +2\r\n",
            b"PROXY TCP6 2001:db8::7 2001:db8::1 +1 2\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n",
        ] {
            assert_eq!(read_all(bytes), None);
        }
    }
}
