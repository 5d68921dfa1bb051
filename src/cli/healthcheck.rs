use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::error::CliError;
use super::output::Output;
use super::ready_file::ReadyFile;
use super::setup::load;

/// The maximum size of a response in bytes. Readiness is one line.
const MOST: usize = 16 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ready file of the server (`serve --ready-file`), which names its listeners. Default: the configuration names them
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Check only whether the process responds (/healthz), not whether it can decide (/readyz)
    #[arg(long)]
    alive: bool,
    /// Time limit in seconds, 1 to 300
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

pub(super) fn run(args: &Args, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    let listener = match &args.ready_file {
        Some(path) => ReadyFile::read(path)?.metrics,
        None => load(config)?.metrics,
    };
    let address = reachable(listener.ok_or(CliError::NoMetrics)?);
    let path = if args.alive { "/healthz" } else { "/readyz" };
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let unreachable = |error: io::Error| {
        let error = match error.kind() {
            // What a socket's timeouts report.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                let text = format!("no response within {} s", args.timeout);
                io::Error::new(io::ErrorKind::TimedOut, text)
            }
            _ => error,
        };
        CliError::NoHealth(address, error)
    };
    let response = get(address, path, deadline).map_err(unreachable)?;
    let (status, body) = parse(&response).ok_or_else(|| {
        unreachable(io::Error::new(
            io::ErrorKind::InvalidData,
            "not an HTTP response",
        ))
    })?;
    match status {
        200 => {
            output.print(&json!({ "status": "ok" }), || "ok".to_owned());
            Ok(())
        }
        _ => Err(CliError::Unhealthy(status, body)),
    }
}

/// Returns an address to connect to: a listener on all addresses is also on the loopback address.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

fn get(address: SocketAddr, path: &str, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, remaining(deadline)?)?;
    stream.set_write_timeout(Some(remaining(deadline)?))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    let mut buffer = [0; 1024];
    while response.len() < MOST {
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

/// Returns the status of a response and the first line of its body, printable.
fn parse(response: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(response);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let line = body.lines().next().unwrap_or_default();
    Some((status, line.escape_debug().collect()))
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
    fn response_is_a_status_and_a_line() {
        let response = b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nthe disk\x1b\nmore";
        assert_eq!(parse(response), Some((503, "the disk\\u{1b}".to_owned())));
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
