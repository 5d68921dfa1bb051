//! Makes connections: to the host that accepts writes and has the highest timeline.

use std::cmp::Reverse;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{CancelToken, Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::fault::{Fault, describe};
use super::server::Server;
use super::timeline::{Primary, TIMELINE, Timeline, Timelines};
use super::tls::client_config;
use realmgate_core::StoreError;

/// The maximum time for a host to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// The time for which only the host in use is tried.
const ALONE: Duration = Duration::from_millis(250);

/// Keepalive: the idle time before the first probe, the interval of probes, and the number of lost
/// probes.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);

/// The maximum time for which sent bytes may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(3);

/// How long hosts may take to respond after the first one that accepts writes, so that the one with
/// the highest timeline is found.
const GRACE: Duration = Duration::from_millis(500);

/// A connection, and the timeline of its server.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) timeline: Timeline,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server that accepts writes.
struct Found {
    link: Link,
    /// The position of its host in the URL.
    at: usize,
    /// When the server was started. Tells two servers from one with two names.
    started: Box<str>,
}

/// A try to connect to the host at a position of the URL.
type Try = BoxFuture<'static, (usize, Result<Found, Fault>)>;

/// Connects to a server. Of several hosts that accept writes, the one with the highest timeline is
/// used. A host that does not respond delays nobody for long.
#[derive(Clone)]
pub(super) struct Connector {
    inner: Arc<Inner>,
}

struct Inner {
    server: Server,
    hosts: Vec<Config>,
    tls: Option<MakeRustlsConnect>,
    timelines: Timelines,
    /// The host in use.
    last: AtomicUsize,
    /// When the server in use was started. `None` until all hosts were tried since the connections
    /// were last given up.
    started: Mutex<Option<Box<str>>>,
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
                timelines: Timelines::default(),
                last: AtomicUsize::new(0),
                started: Mutex::default(),
                password: ArcSwapOption::from(password.map(Arc::new)),
            }),
        })
    }

    pub(super) fn server(&self) -> &Server {
        &self.inner.server
    }

    pub(super) fn timelines(&self) -> &Timelines {
        &self.inner.timelines
    }

    /// Records the timeline in a response of the server in use.
    ///
    /// # Errors
    /// The server is on an old timeline, as can happen behind PgBouncer.
    pub(super) fn see(&self, timeline: &str) -> Result<(), Fault> {
        let host = self.host(self.inner.last.load(Ordering::Relaxed));
        let timeline = Timeline::parse(timeline)?;
        self.inner.timelines.see(Primary {
            host: &host,
            timeline,
        })
    }

    /// Returns the maximum time to connect.
    pub(super) const fn longest() -> Duration {
        // The additional second is for TLS and authentication.
        CONNECT
            .saturating_add(Duration::from_secs(1))
            .saturating_add(GRACE)
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

    /// Makes the next connection try all hosts.
    pub(super) fn forget_host(&self) {
        *self.inner.started.lock() = None;
    }

    /// Connects to the host in use, or to the best of all if there is none.
    pub(super) async fn connect(&self) -> Result<Link, Fault> {
        let inner = &*self.inner;
        inner.refresh_password();
        let last = inner.last.load(Ordering::Relaxed);
        let tries = FuturesUnordered::new();
        let mut is_tried = false;
        let known = inner.started.lock().clone();
        if let Some(started) = known
            && inner.hosts.len() > 1
        {
            let mut first = self.try_host(last);
            match timeout(ALONE, &mut first).await {
                Ok((_, Ok(found))) => {
                    let seen = inner.timelines.see(primary(&found, &self.host(last)));
                    if seen.is_ok() && found.started == started {
                        return Ok(found.link);
                    }
                    // It was restarted, or is on an old timeline: another one may be the primary.
                    self.forget_host();
                }
                Ok((_, Err(_))) => {}
                Err(_) => {
                    tries.push(first);
                    is_tried = true;
                }
            }
        }
        for at in (0..inner.hosts.len()).filter(|at| *at != last || !is_tried) {
            tries.push(self.try_host(at));
        }
        self.best(tries).await
    }

    /// Waits for hosts, and takes the one with the highest timeline.
    async fn best(&self, mut tries: FuturesUnordered<Try>) -> Result<Link, Fault> {
        let (mut all, mut faults) = (Vec::new(), Vec::new());
        let mut deadline = None;
        loop {
            let next = match deadline {
                None => tries.next().await,
                Some(deadline) => timeout_at(deadline, tries.next()).await.unwrap_or(None),
            };
            match next {
                Some((_, Ok(found))) => {
                    all.push(found);
                    deadline.get_or_insert_with(|| Instant::now() + GRACE);
                }
                Some((at, Err(fault))) => faults.push((at, fault)),
                None => break,
            }
        }
        // The first of the URL among equals, so that all nodes agree.
        all.sort_by_key(|found| (found.link.timeline, Reverse(found.at)));
        let Some(best) = all.pop() else {
            return Err(self.together(faults));
        };
        let host = self.host(best.at);
        let used = primary(&best, &host);
        let inner = &*self.inner;
        all.retain(|other| other.started != best.started);
        for other in &all {
            let host = self.host(other.at);
            inner.timelines.report_two(used, primary(other, &host));
        }
        inner
            .timelines
            .set_others(all.iter().map(|other| &*other.started));
        inner.timelines.see(used)?;
        inner.last.store(best.at, Ordering::Relaxed);
        *inner.started.lock() = Some(best.started);
        Ok(best.link)
    }

    /// Looks for another server that accepts writes among the hosts that are not in use. One with a
    /// higher timeline is used from now on.
    pub(super) async fn look_around(self) {
        let inner = &*self.inner;
        let last = inner.last.load(Ordering::Relaxed);
        let others = (0..inner.hosts.len()).filter(|at| *at != last);
        let mut tries: FuturesUnordered<_> = others
            .map(|at| timeout(Self::longest(), self.try_host(at)))
            .collect();
        let mut writable = Vec::new();
        while let Some(tried) = tries.next().await {
            let Ok((_, Ok(found))) = tried else { continue };
            let Some(started) = inner.started.lock().clone() else {
                return;
            };
            if found.started == started {
                continue;
            }
            writable.push(found.started.clone());
            let (host, other) = (self.host(last), self.host(found.at));
            let other = primary(&found, &other);
            let timeline = inner.timelines.highest();
            if other.timeline > timeline && inner.timelines.see(other).is_ok() {
                self.forget_host();
                return;
            }
            let used = Primary {
                host: &host,
                timeline,
            };
            inner.timelines.report_two(used, other);
        }
        inner.timelines.set_others(writable.iter().map(|it| &**it));
    }

    fn try_host(&self, at: usize) -> Try {
        let connecting = self.clone().connect_to(at);
        async move { (at, connecting.await) }.boxed()
    }

    /// Returns the error of a connection that no host accepted: what each of them said.
    fn together(&self, mut faults: Vec<(usize, Fault)>) -> Fault {
        if faults.len() < 2 {
            return faults.pop().map_or(Fault::Closed, |(_, fault)| fault);
        }
        faults.sort_by_key(|(at, _)| *at);
        let each = faults.into_iter().map(|(at, fault)| {
            let text = StoreError::from(fault).to_string();
            format!("{}: {text}", self.host(at))
        });
        Fault::Connection(each.collect::<Vec<_>>().join("; ").into())
    }

    async fn connect_to(self, at: usize) -> Result<Found, Fault> {
        let inner = &*self.inner;
        // Out of range only without hosts; the base configuration then fails to connect.
        let mut config = inner.hosts.get(at).unwrap_or(&inner.server.config).clone();
        if let Some(password) = &*inner.password.load() {
            config.password(password.as_slice());
        }
        let (client, task) = match &inner.tls {
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                (client, tokio::spawn(run(connection)))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                (client, tokio::spawn(run(connection)))
            }
        };
        let mut link = Link {
            client,
            timeline: Timeline::default(),
            task,
        };
        let sql = format!("SELECT {TIMELINE}, pg_postmaster_start_time()::text");
        let row = link.client.query_typed_one(&sql, &[]).await?;
        link.timeline = Timeline::parse(row.try_get(0)?)?;
        Ok(Found {
            link,
            at,
            started: row.try_get::<_, &str>(1)?.into(),
        })
    }

    /// Returns the name of a host for the log.
    fn host(&self, at: usize) -> String {
        self.inner.server.host(at)
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

fn primary<'a>(found: &Found, host: &'a str) -> Primary<'a> {
    Primary {
        host,
        timeline: found.link.timeline,
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
