//! Reads the metrics listener of a server (`metrics.listen`).

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A response: its status and its body.
pub(super) type Response = (u16, String);

/// Returns an address to connect to: a listener on all addresses is also on the loopback address.
pub(super) fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// Gets `path`. Reads at most `most` bytes.
///
/// # Errors
/// There is no response before the deadline, or none of HTTP.
pub(super) fn get(
    address: SocketAddr,
    path: &str,
    deadline: Instant,
    most: usize,
) -> io::Result<Response> {
    let response = exchange(address, path, deadline, most)?;
    let no_http = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP response");
    parse(&response).ok_or_else(no_http)
}

fn exchange(
    address: SocketAddr,
    path: &str,
    deadline: Instant,
    most: usize,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, remaining(deadline)?)?;
    stream.set_write_timeout(Some(remaining(deadline)?))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    while response.len() < most {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        match stream.read(&mut buffer)? {
            0 => break,
            n => response.extend(buffer.iter().take(n)),
        }
    }
    Ok(response)
}

/// Returns the time until the deadline, which is not zero.
fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

fn parse(response: &[u8]) -> Option<Response> {
    let text = String::from_utf8_lossy(response);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_on_all_addresses_is_reached_on_loopback() {
        for (listener, expected) in [
            ("0.0.0.0:8084", "127.0.0.1:8084"),
            ("[::]:8084", "[::1]:8084"),
            ("10.0.0.5:1", "10.0.0.5:1"),
        ] {
            assert_eq!(
                reachable(listener.parse().unwrap()),
                expected.parse().unwrap()
            );
        }
    }

    #[test]
    fn response_is_a_status_and_a_body() {
        let response = b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nthe disk\x1b\nmore";
        let expected = (503, "the disk\x1b\nmore".to_owned());
        assert_eq!(parse(response), Some(expected));
        for broken in [
            &b""[..],
            b"ok",
            b"HTTP/1.1 200",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"SSH-2.0\r\n\r\n",
        ] {
            assert_eq!(parse(broken), None);
        }
    }
}
