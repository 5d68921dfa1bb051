//! Makes connections: to the first host that accepts writes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use deadpool_postgres::Connect;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, select_ok};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{CancelToken, Client, Config, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::fault::describe;
use super::server::Server;
use super::tls::client_config;

/// The maximum time for a host to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// The time for which only the last successful host is tried.
const ALONE: Duration = Duration::from_millis(250);

/// Keepalive: the idle time before the first probe, the interval of probes, and the number of lost
/// probes.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);

/// The maximum time for which sent bytes may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(3);

type Connected = Result<(Client, JoinHandle<()>), Error>;

/// Connects to a server. Of several hosts, the last successful one is tried first and the others
/// soon after, in parallel, so that a host that does not respond delays nobody.
#[derive(Clone)]
pub(super) struct Connector {
    inner: Arc<Inner>,
}

struct Inner {
    server: Server,
    hosts: Vec<Config>,
    tls: Option<MakeRustlsConnect>,
    /// The last host that accepted writes.
    last: AtomicUsize,
    /// The last password that was read.
    password: ArcSwapOption<Zeroizing<Vec<u8>>>,
}

impl Connector {
    /// Prepares connections to a server.
    ///
    /// # Errors
    /// A file of TLS or of the password cannot be read.
    pub(super) fn new(server: Server) -> io::Result<Self> {
        server.password.warn_if_exposed();
        let password = server.password.read()?;
        let tls = client_config(&server)?.map(MakeRustlsConnect::new);
        let hosts = (0..server.hosts())
            .map(|at| host_config(&server.config, at, tls.is_some()))
            .collect();
        Ok(Self {
            inner: Arc::new(Inner {
                server,
                hosts,
                tls,
                last: AtomicUsize::new(0),
                password: ArcSwapOption::from(password.map(Arc::new)),
            }),
        })
    }

    pub(super) fn server(&self) -> &Server {
        &self.inner.server
    }

    /// Returns the maximum time to connect.
    pub(super) const fn longest() -> Duration {
        // The additional second is for TLS and authentication.
        CONNECT.saturating_add(Duration::from_secs(1))
    }

    /// Cancels the statement that runs on a connection, if one does.
    pub(super) async fn cancel(self, statement: CancelToken) {
        let cancelled = match &self.inner.tls {
            Some(tls) => timeout(CONNECT, statement.cancel_query(tls.clone())).await,
            None => timeout(CONNECT, statement.cancel_query(NoTls)).await,
        };
        if let Ok(Err(error)) = cancelled {
            tracing::debug!(error = describe(&error), "cannot cancel a statement");
        }
    }

    async fn connect_anywhere(self) -> Connected {
        self.inner.refresh_password();
        let last = self.inner.last.load(Ordering::Relaxed);
        let mut first = self.clone().connect_to(last).boxed();
        if self.inner.hosts.len() == 1 {
            return first.await;
        }
        let mut tries: Vec<BoxFuture<'static, Connected>> = Vec::new();
        match timeout(ALONE, &mut first).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(_)) => {}
            Err(_) => tries.push(first),
        }
        let others = (0..self.inner.hosts.len()).filter(|at| *at != last || tries.is_empty());
        let others = others.map(|at| self.clone().connect_to(at).boxed());
        let others: Vec<_> = others.collect();
        tries.extend(others);
        let (connected, _) = select_ok(tries).await?;
        Ok(connected)
    }

    async fn connect_to(self, at: usize) -> Connected {
        let inner = &*self.inner;
        // Out of range only without hosts; the base configuration then fails to connect.
        let mut config = inner.hosts.get(at).unwrap_or(&inner.server.config).clone();
        if let Some(password) = &*inner.password.load() {
            config.password(password.as_slice());
        }
        let connected = match &inner.tls {
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                (client, tokio::spawn(run(connection)))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                (client, tokio::spawn(run(connection)))
            }
        };
        inner.last.store(at, Ordering::Relaxed);
        Ok(connected)
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        _: &Config,
    ) -> std::pin::Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        Box::pin(self.clone().connect_anywhere())
    }
}

impl Inner {
    /// Reads the password again. Falls back to the last one that was read.
    fn refresh_password(&self) {
        match self.server.password.read() {
            Ok(password) => self.password.store(password.map(Arc::new)),
            Err(error) => tracing::error!(%error, "cannot read the password of the database again"),
        }
    }
}

/// Runs a connection until it ends. Its user gets the error.
async fn run<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if let Err(error) = connection.await {
        tracing::debug!(
            error = describe(&error),
            "a connection to the database has ended"
        );
    }
}

/// Returns the configuration for one host.
fn host_config(all: &Config, at: usize, has_tls: bool) -> Config {
    let mut one = Config::new();
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(name) = all.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    match all.get_hosts().get(at) {
        Some(Host::Tcp(name)) => {
            one.host(name);
        }
        Some(Host::Unix(path)) => {
            one.host_path(path);
        }
        None => {}
    }
    if let Some(address) = all.get_hostaddrs().get(at) {
        one.hostaddr(*address);
    }
    let ports = all.get_ports();
    if let Some(port) = ports.get(at).or(ports.first()) {
        one.port(*port);
    }
    let (idle, interval, probes) = KEEP_ALIVE;
    one.application_name("realmgate")
        .connect_timeout(CONNECT)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .keepalives(true)
        .keepalives_idle(idle)
        .keepalives_interval(interval)
        .keepalives_retries(probes)
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .ssl_mode(match has_tls {
            true => SslMode::Require,
            false => SslMode::Disable,
        });
    one
}
