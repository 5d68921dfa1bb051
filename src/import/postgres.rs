use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, IsolationLevel, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::django::{ReadError, Row, TABLE, columns};
use crate::auth::UnixTime;
use crate::tls;

/// The longest that connecting, and then reading, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the rows of a server.
///
/// TLS is checked against the roots of the system wherever it is used: `sslmode=require` asks for it, and
/// so does `prefer`, the default, unless the server is on this machine.
pub(super) async fn read(config: &Config) -> Result<Vec<Row>, ReadError> {
    let mut config = config.clone();
    if config.get_password().is_none()
        && let Some(password) = std::env::var_os("PGPASSWORD")
    {
        config.password(password.as_encoded_bytes());
    }
    config.application_name("realmgate import");
    let server = server_of(&config);
    let late = || ReadError::Timeout(server.clone());
    let in_clear = match config.get_ssl_mode() {
        SslMode::Disable => true,
        SslMode::Prefer => is_local(&config),
        _ => false,
    };
    let mut client = if in_clear {
        connect(&config, NoTls, &server).await?
    } else {
        config.ssl_mode(SslMode::Require);
        connect(&config, MakeRustlsConnect::new(tls::to_servers()), &server).await?
    };
    tokio::time::timeout(PATIENCE, select(&mut client))
        .await
        .map_err(|_| late())?
}

async fn connect<T>(config: &Config, tls: T, server: &str) -> Result<Client, ReadError>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let connected = tokio::time::timeout(PATIENCE, config.connect(tls)).await;
    let connected = connected.map_err(|_| ReadError::Timeout(server.to_owned()))?;
    let (client, connection) = connected.map_err(|source| ReadError::Connect {
        server: server.to_owned(),
        source,
    })?;
    // It ends with the client.
    tokio::spawn(connection);
    Ok(client)
}

async fn select(client: &mut Client) -> Result<Vec<Row>, ReadError> {
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
    let columns = columns(
        &present,
        "is_active",
        "floor(EXTRACT(EPOCH FROM date_joined))::bigint",
    )?;
    let columns =
        columns
            .replacen("id,", "id::bigint,", 1)
            .replacen(" NULL,", " NULL::boolean,", 1);
    let columns = match columns.strip_suffix(" NULL") {
        Some(start) => format!("{start} NULL::bigint"),
        None => columns,
    };
    let rows = snapshot
        .query(&format!("SELECT {columns} FROM {TABLE} ORDER BY id"), &[])
        .await?;
    rows.iter()
        .map(|row| {
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
        })
        .collect()
}

fn server_of(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let hosts = hosts.collect::<Vec<_>>().join(",");
    format!("{hosts} port {port}")
}

/// Says whether every host of the URL is this machine.
fn is_local(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
    })
}
