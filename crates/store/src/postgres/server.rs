//! Parses the URL of a server.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::password::Password;
use super::ssl_mode::TlsMode;
use crate::location::Location;

/// The default port.
const PORT: u16 = 5432;

/// The maximum number of hosts in a URL.
const HOSTS: usize = 16;

/// The maximum length of a schema name in bytes. PostgreSQL truncates longer ones.
const SCHEMA_BYTES: usize = 63;

/// A PostgreSQL server, or several of which one accepts writes. Contains no password.
#[derive(Clone)]
pub struct Server {
    pub(super) config: Config,
    pub(super) tls: TlsMode,
    pub(super) root_certificate: Option<PathBuf>,
    /// The files of a certificate and its key.
    pub(super) client_certificate: Option<(PathBuf, PathBuf)>,
    /// The source of the password.
    pub password: Password,
    /// The schema of the tables; `None` for the first of the search path.
    pub schema: Option<Box<str>>,
    /// The maximum number of connections, not counting the one that follows the change log.
    pub connections: usize,
    /// The name of this node in the database.
    pub node: Box<str>,
}

/// Why a URL is invalid. Never contains a password.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    /// The URL contains a password.
    #[error("a URL without a password: put it into store.password_file")]
    Password,
    /// An unknown parameter.
    #[error(
        "only the parameters host, hostaddr, port, user, dbname, options, sslmode, sslrootcert, sslcert and sslkey, each once"
    )]
    Parameter,
    /// An unknown value of `sslmode`.
    #[error("sslmode disable, require, verify-ca or verify-full")]
    SslMode,
    /// Only one half of a client certificate.
    #[error("sslcert and sslkey together, or neither")]
    ClientCertificate,
    /// TLS options without TLS.
    #[error("no sslrootcert, sslcert or sslkey with sslmode=disable")]
    NoTls,
    /// No host, or too many.
    #[error("1 to 16 hosts")]
    Hosts,
    /// Any other syntax error.
    #[error(
        "postgres://USER@HOST[:PORT][,HOST…]/DATABASE[?sslmode=…], with other characters than letters and digits percent-encoded"
    )]
    Form,
}

impl Server {
    /// Parses a URL that begins with `postgres://` or `postgresql://`.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut kept, mut ours) = (Vec::new(), Tls::default());
        let mut seen: Vec<&str> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(UrlError::Form)?;
            if seen.contains(&name) {
                return Err(UrlError::Parameter);
            }
            seen.push(name);
            let decoded = || {
                let decoded = percent_decode_str(value).decode_utf8();
                decoded.map(Cow::into_owned).map_err(|_| UrlError::Form)
            };
            match name {
                "sslmode" => {
                    let mode = decoded()?.parse();
                    ours.mode = Some(mode.map_err(|_| UrlError::SslMode)?);
                }
                "sslrootcert" => ours.root = Some(decoded()?.into()),
                "sslcert" => ours.cert = Some(decoded()?.into()),
                "sslkey" => ours.key = Some(decoded()?.into()),
                "host" | "hostaddr" | "port" | "user" | "dbname" | "options" => kept.push(pair),
                "password" => return Err(UrlError::Password),
                _ => return Err(UrlError::Parameter),
            }
        }
        let url = match kept.is_empty() {
            true => base.to_owned(),
            false => format!("{base}?{}", kept.join("&")),
        };
        let mut config: Config = url.parse().map_err(|_| UrlError::Form)?;
        if config.get_password().is_some() {
            return Err(UrlError::Password);
        }
        let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
        let ports = config.get_ports().len();
        if !(1..=HOSTS).contains(&hosts) || (ports > 1 && ports != hosts) {
            return Err(UrlError::Hosts);
        }
        config.application_name("realmgate");
        let is_local = is_local(&config);
        let tls = ours.mode.unwrap_or(match is_local {
            true => TlsMode::Disable,
            false => TlsMode::VerifyFull,
        });
        let client_certificate = match (ours.cert, ours.key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(UrlError::ClientCertificate),
        };
        if tls == TlsMode::Disable && (ours.root.is_some() || client_certificate.is_some()) {
            return Err(UrlError::NoTls);
        }
        Ok(Self {
            config,
            tls,
            root_certificate: ours.root,
            client_certificate,
            password: Password::None,
            schema: None,
            connections: 8,
            node: "".into(),
        })
    }

    /// Returns whether a text is a valid schema name: lower-case letters, digits and underscores.
    pub fn is_schema(name: &str) -> bool {
        let is_first = |c: u8| c == b'_' || c.is_ascii_lowercase();
        let mut bytes = name.bytes();
        name.len() <= SCHEMA_BYTES
            && !name.starts_with("pg_")
            && bytes.next().is_some_and(is_first)
            && bytes.all(|c| is_first(c) || c.is_ascii_digit())
    }

    /// Returns the server for messages, without password and parameters.
    pub fn location(&self) -> Location {
        Location::Url(self.to_string().into())
    }

    /// Returns the name of a host, with its port unless that is the default.
    pub(super) fn host(&self, at: usize) -> String {
        let config = &self.config;
        let name = match (config.get_hosts().get(at), config.get_hostaddrs().get(at)) {
            (Some(Host::Tcp(name)), _) => name.clone(),
            (Some(Host::Unix(path)), _) => path.display().to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => String::new(),
        };
        let ports = config.get_ports();
        match ports.get(at).or(ports.first()) {
            Some(&port) if port != PORT => format!("{name}:{port}"),
            _ => name,
        }
    }

    /// Returns the number of hosts.
    pub(super) fn hosts(&self) -> usize {
        let config = &self.config;
        config.get_hosts().len().max(config.get_hostaddrs().len())
    }
}

#[derive(Default)]
struct Tls {
    mode: Option<TlsMode>,
    root: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Returns whether every server is named as one on this machine. A name of another machine counts
/// even if the address beside it (`hostaddr`) is a loopback address, such as that of a tunnel: the
/// server is still expected to prove that name.
fn is_local(config: &Config) -> bool {
    let are_addresses_local = config.get_hostaddrs().iter().all(IpAddr::is_loopback);
    let mut hosts = config.get_hosts().iter();
    are_addresses_local
        && hosts.all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
            }
        })
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        for at in 0..self.hosts() {
            if at > 0 {
                f.write_char(',')?;
            }
            f.write_str(&self.host(at))?;
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

/// Whatever of it could differ, and no password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.to_string())
            .field("hostaddr", &self.config.get_hostaddrs())
            .field("options", &self.config.get_options())
            .field("tls", &self.tls)
            .field("root_certificate", &self.root_certificate)
            .field("client_certificate", &self.client_certificate)
            .field("password", &self.password)
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("node", &self.node)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Server {
        Server::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn tls_is_verified_in_full_unless_the_server_is_on_this_machine() {
        for (url, mode) in [
            ("postgres://u@db.example.org/d", TlsMode::VerifyFull),
            (
                "postgres://u@localhost,db.example.org/d",
                TlsMode::VerifyFull,
            ),
            (
                "postgres://u@localhost/d?hostaddr=192.0.2.1",
                TlsMode::VerifyFull,
            ),
            (
                "postgres://u@db.example.org/d?hostaddr=127.0.0.1",
                TlsMode::VerifyFull,
            ),
            (
                "postgres://u@localhost,db/d?hostaddr=127.0.0.1,127.0.0.2",
                TlsMode::VerifyFull,
            ),
            (
                "postgres:///d?user=u&hostaddr=127.0.0.1,192.0.2.1",
                TlsMode::VerifyFull,
            ),
            (
                "postgres://u@localhost/d?hostaddr=127.0.0.1",
                TlsMode::Disable,
            ),
            ("postgres:///d?user=u&hostaddr=127.0.0.1", TlsMode::Disable),
            ("postgres://u@localhost/d", TlsMode::Disable),
            ("postgres://u@127.0.0.1,[::1]:5433/d", TlsMode::Disable),
            ("postgres://u@%2Frun%2Fpostgresql/d", TlsMode::Disable),
            (
                "postgres://u@localhost/d?sslmode=verify-ca",
                TlsMode::VerifyCa,
            ),
            ("postgresql://u@db/d?sslmode=require", TlsMode::Require),
            ("postgres://u@db/d?sslmode=disable", TlsMode::Disable),
        ] {
            assert_eq!(parse(url).tls, mode, "{url}");
        }
    }

    #[test]
    fn url_is_shown_without_its_parameters() {
        for (url, shown) in [
            (
                "postgres://u@a,b:5433/d?sslmode=require&options=-csearch_path%3Dx",
                "postgres://u@a,b:5433/d",
            ),
            (
                "postgres://u@%2Frun%2Fpg:6432/d",
                "postgres://u@/run/pg:6432/d",
            ),
        ] {
            assert_eq!(parse(url).to_string(), shown);
        }
    }

    #[test]
    fn unusable_url_is_rejected_without_showing_it() {
        for (url, error) in [
            ("postgres://u:secret@h/d", UrlError::Password),
            ("postgres://u@h/d?password=secret", UrlError::Password),
            ("postgres://u@h/d?sslmode=prefer", UrlError::SslMode),
            ("postgres://u@h/d?sslmode=verify", UrlError::SslMode),
            (
                "postgres://u@h/d?target_session_attrs=any",
                UrlError::Parameter,
            ),
            ("postgres://u@h/d?user=a&user=b", UrlError::Parameter),
            ("postgres://u@h/d?sslcert=%2Fc", UrlError::ClientCertificate),
            ("postgres://u@localhost/d?sslrootcert=%2Fc", UrlError::NoTls),
            ("postgres://u@h:secret/d", UrlError::Form),
            ("postgres://u@a:1,b:2,c/d?port=1,2", UrlError::Form),
            ("postgres:///d", UrlError::Hosts),
        ] {
            match Server::parse(url) {
                Err(found) => {
                    assert!(!found.to_string().contains("secret"));
                    if url != "postgres://u@a:1,b:2,c/d?port=1,2" {
                        assert_eq!(found, error, "{url}");
                    }
                }
                Ok(server) => panic!("{url}: {server:?}"),
            }
        }
    }

    #[test]
    fn schema_is_a_plain_name() {
        let long = "a".repeat(64);
        for (name, is_one) in [
            ("realmgate", true),
            ("_r2", true),
            (&*"a".repeat(63), true),
            (&*long, false),
            ("", false),
            ("2r", false),
            ("pg_temp", false),
            ("Realm", false),
            ("a-b", false),
            ("a\"", false),
        ] {
            assert_eq!(Server::is_schema(name), is_one, "{name}");
        }
    }
}
