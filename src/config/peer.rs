//! Checks the peers of an upstream.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::raw;
use super::source::{Checked, Rejected, Source};

/// The maximum number of peers of an upstream.
const MOST: usize = 1000;

/// A server of an upstream, or all servers that a name resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: PeerAddress,
    /// Its share of the requests, 1 to 100; 1 by default.
    pub weight: usize,
}

/// The address of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// An IP address and a port.
    At(SocketAddr),
    /// A host name and a port, separated by a colon. The name is resolved while realmgate runs, not
    /// when the configuration is read.
    Named(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for PeerAddress {
    /// Writes the address as in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Named(name) => f.write_str(name),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The valid values of `peers`.
pub(super) const PEERS: &str =
    r#"at least one address such as "127.0.0.1:9000" or "app.internal:9000""#;

/// Checks the peers.
pub(super) fn peers(
    source: &Source<'_>,
    key: &str,
    raw: &Spanned<Vec<Spanned<raw::Peer>>>,
) -> Checked<Vec<Peer>> {
    let mut peers: Vec<Peer> = Vec::new();
    let mut rejected: Option<Rejected> = None;
    if raw.get_ref().len() > MOST {
        let given = raw.get_ref().len().to_string();
        return Err(source.reject_as(key, given, raw.span(), format!("at most {MOST} peers")));
    }
    for (at, raw) in raw.get_ref().iter().enumerate() {
        let (key, table) = (format!("{key}[{at}]"), raw.get_ref());
        let raw::Peer { address, weight } = table;
        let Some(address) = address else {
            rejected = Some(source.missing(format!("{key}.address"), raw.span(), "an address"));
            continue;
        };
        let weight = source.number(&format!("{key}.weight"), weight.as_ref(), 1, 1..=100);
        // A plain address has no span of its own, so use that of the peer.
        let address = Spanned::new(raw.span(), address.get_ref().clone());
        let address = match self::address(source, &key, &address) {
            Ok(address) => address,
            Err(mistake) => {
                rejected = Some(mistake);
                continue;
            }
        };
        if peers.iter().any(|peer| peer.address == address) {
            let expected = "an address that is not there already";
            rejected = Some(source.reject(&key, raw, expected));
        }
        peers.push(Peer { address, weight });
    }
    match rejected {
        Some(rejected) => Err(rejected),
        None if peers.is_empty() => Err(source.reject(key, raw, PEERS)),
        None => Ok(peers),
    }
}

fn address(source: &Source<'_>, key: &str, raw: &Spanned<String>) -> Checked<PeerAddress> {
    let reject = |expected: &str| source.reject(key, raw, expected);
    let text = raw.get_ref();
    if let Some(path) = text.strip_prefix("unix:") {
        // The maximum that the system accepts, with the terminating zero.
        if !path.starts_with('/') || path.len() > 107 {
            return Err(reject("unix: and the path of a socket, at most 107 bytes"));
        }
        return Ok(PeerAddress::Unix(Path::new(path).to_owned()));
    }
    if let Ok(address) = text.parse::<SocketAddr>()
        && address.port() != 0
    {
        return Ok(PeerAddress::At(address));
    }
    if text.contains("://") {
        return Err(reject(
            "HOST:PORT without a scheme; tls = true is for https",
        ));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or_default();
    if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return Err(reject("HOST:PORT with a port from 1 to 65535"));
    }
    if !is_host(host) {
        return Err(reject(
            "an IP address (IPv6 in brackets) or the name of a host, and a port, without a scheme",
        ));
    }
    Ok(PeerAddress::Named(text.clone()))
}

/// Returns whether a text is a valid host name: labels of letters, digits, `-` and `_`, at most 253
/// bytes. A name that ends with a number is not, because some programs read it as an address
/// (`127.1`).
fn is_host(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(is_part)
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(is_label) && !is_number
}
