//! Sends requests as bytes, so that they arrive as an attacker would send them.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// The maximum wait for a connection, and for each part of a response.
const PATIENCE: Duration = Duration::from_secs(10);

/// The maximum size of a response in bytes. The rest is not read.
const MOST: u64 = 1 << 20;

/// The maximum number of headers in a response.
const HEADERS: usize = 256;

/// A response.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    /// Header and body as received.
    pub(super) text: String,
}

impl Reply {
    /// Returns the values of a header.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter();
        let named = named.filter(move |(it, _)| it.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// Returns the first value of a header.
    pub(super) fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }
}

/// Sends a request on a connection of its own, and reads the response.
///
/// # Errors
/// There is no connection, or no response in HTTP.
pub(super) fn send(
    (host, port): (&str, u16),
    tls: Option<&Arc<ClientConfig>>,
    request: &[u8],
) -> io::Result<Reply> {
    let bytes = match tls {
        None => exchange(connect(host, port)?, request)?,
        Some(config) => {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let session = ClientConnection::new(Arc::clone(config), name);
            let session = session.map_err(io::Error::other)?;
            exchange(StreamOwned::new(session, connect(host, port)?), request)?
        }
    };
    read(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP response"))
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    // An address in brackets is IPv6.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut bytes = Vec::new();
    let read = stream.take(MOST).read_to_end(&mut bytes);
    match read {
        // Many servers close a TLS connection without an alert, and a connection with unread bytes by a reset.
        Err(error) if bytes.is_empty() => Err(error),
        _ => Ok(bytes),
    }
}

/// Reads the final response.
fn read(mut bytes: &[u8]) -> Option<Reply> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = response.parse(bytes).ok()? else {
            return None;
        };
        let status = response.code?;
        if (100..200).contains(&status) && status != 101 {
            bytes = bytes.get(length..)?;
            continue;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = response.headers.iter();
        return Some(Reply {
            status,
            headers: headers
                .map(|header| (header.name.to_owned(), text(header.value)))
                .collect(),
            text: text(bytes),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_responses_are_skipped() {
        let bytes =
            b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 401 No\r\nA: b\r\n\r\nbody";
        let reply = read(bytes).unwrap();
        assert_eq!((reply.status, reply.header("a")), (401, Some("b")));
        assert!(reply.text.ends_with("body"));
        assert!(read(b"HTTP/1.1 100 Continue\r\n\r\n").is_none());
        assert!(read(b"SSH-2.0\r\n\r\n").is_none());
    }
}
