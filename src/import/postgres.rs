use std::net::IpAddr;

use futures_util::TryStreamExt;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, IsolationLevel, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::django::{ReadError, Row, TABLE, TEXT, columns};
use super::rows::Rows;
use crate::auth::UnixTime;
use crate::tls;

/// Reads the rows from a server, on an event loop of its own.
///
/// TLS certificates are verified with the root certificates of the system whenever TLS is used.
/// `sslmode=require` uses TLS, and so does `prefer`, the default, unless the server is on this
/// machine. Unix sockets never use TLS.
pub(super) fn read(config: &Config, rows: &mut Rows) -> Result<(), ReadError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ReadError::Start)?
        .block_on(read_from(config, rows))
}

async fn read_from(config: &Config, rows: &mut Rows) -> Result<(), ReadError> {
    let mut config = config.clone();
    if config.get_password().is_none()
        && let Some(password) = std::env::var_os("PGPASSWORD")
    {
        config.password(password.as_encoded_bytes());
    }
    config.application_name("realmgate import");
    let server = server_of(&config);
    let mode = config.get_ssl_mode();
    let wants_tls = match place(&config) {
        Place::Socket => false,
        Place::Loopback => !matches!(mode, SslMode::Disable | SslMode::Prefer),
        Place::Remote => mode != SslMode::Disable,
    };
    let mut client = if wants_tls {
        config.ssl_mode(SslMode::Require);
        connect(&config, MakeRustlsConnect::new(tls::to_servers()), &server).await?
    } else {
        config.ssl_mode(SslMode::Disable);
        connect(&config, NoTls, &server).await?
    };
    select(&mut client, rows).await
}

async fn connect<T>(config: &Config, tls: T, server: &str) -> Result<Client, ReadError>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config
        .connect(tls)
        .await
        .map_err(|source| ReadError::Connect {
            server: server.to_owned(),
            source,
        })?;
    // The task ends when the client is dropped.
    tokio::spawn(connection);
    Ok(client)
}

async fn select(client: &mut Client, rows: &mut Rows) -> Result<(), ReadError> {
    let snapshot = client
        .build_transaction()
        .read_only(true)
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .await?;
    let present = snapshot
        .query(
            "SELECT column_name::text FROM information_schema.columns
             WHERE table_name = $1 AND table_schema = ANY (current_schemas(false))",
            &[&TABLE],
        )
        .await?;
    let present: Vec<String> = present.iter().map(|row| row.get(0)).collect();
    let text = |name| format!("left({name}::text, {TEXT})");
    let columns = columns(
        &present,
        [
            ("id::bigint", ""),
            (&text("name"), ""),
            (&text("realm"), ""),
            (&text("seed"), ""),
            ("is_active", "NULL::boolean"),
            (
                "floor(EXTRACT(EPOCH FROM date_joined))::bigint",
                "NULL::bigint",
            ),
        ],
    )?;
    let none: [&str; 0] = [];
    let found = snapshot
        .query_raw(&format!("SELECT {columns} FROM {TABLE}"), none)
        .await?;
    let mut found = std::pin::pin!(found);
    while let Some(row) = found.try_next().await? {
        if !rows.push(read_row(&row)?) {
            break;
        }
    }
    Ok(())
}

fn read_row(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    Ok(Row {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        realm: row.try_get(2)?,
        seed: Zeroizing::new(row.try_get::<_, Option<String>>(3)?.unwrap_or_default()),
        active: row.try_get::<_, Option<bool>>(4)?.unwrap_or(true),
        created: row
            .try_get::<_, Option<i64>>(5)?
            .and_then(|secs| u64::try_from(secs).ok())
            .map(UnixTime::from_secs),
    })
}

fn server_of(config: &Config) -> String {
    let mut hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    if hosts.is_empty() {
        hosts.extend(config.get_hostaddrs().iter().map(ToString::to_string));
    }
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("{} port {port}", hosts.join(","))
}

/// The location of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Unix socket.
    Socket,
    /// Loopback address.
    Loopback,
    /// Another machine.
    Remote,
}

/// Returns the most distant location of the servers in a URL. If there are addresses (`hostaddr`),
/// they count instead of host names, because the client connects to them.
fn place(config: &Config) -> Place {
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        return if addresses.iter().all(IpAddr::is_loopback) {
            Place::Loopback
        } else {
            Place::Remote
        };
    }
    let is_socket = |host: &Host| matches!(host, Host::Unix(_));
    let is_here = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
    };
    let hosts = config.get_hosts();
    if hosts.iter().all(is_socket) {
        Place::Socket
    } else if hosts.iter().all(is_here) {
        Place::Loopback
    } else {
        Place::Remote
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_that_of_the_farthest_server() {
        for (url, expected) in [
            ("postgres://%2Frun%2Fpostgresql/d", Place::Socket),
            ("postgres:///d?host=/run/postgresql", Place::Socket),
            ("postgres://localhost/d", Place::Loopback),
            ("postgres://127.0.0.9/d", Place::Loopback),
            ("postgres://[::1]/d", Place::Loopback),
            (
                "postgres://%2Frun%2Fpostgresql,localhost/d",
                Place::Loopback,
            ),
            ("postgres://localhost,db.example.org/d", Place::Remote),
            ("postgres://localhost.example.org/d", Place::Remote),
            ("postgres://localhost/d?hostaddr=192.0.2.1", Place::Remote),
            ("postgres:///d?hostaddr=192.0.2.1", Place::Remote),
            ("postgres:///d?hostaddr=127.0.0.1", Place::Loopback),
        ] {
            assert_eq!(place(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
