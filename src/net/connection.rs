//! Connections from their acceptance to the end of the process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use pingora::server::ShutdownWatch;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::accept::BadStart;
use super::admission::{AddressSlot, Admission, Counted, Full};
use super::client::{Client, LINGER};
use super::incoming::{FromFrontProxy, Incoming, adopt};
use super::loops::PerLoop;
use super::metrics::NetMetrics;
use super::process::Process;
use super::rejected::{Cause, Rejected};
use super::serve::Serve;
use super::settings::{Listening, Live, Settings};
use crate::http::rejection::Rejection;
use crate::telemetry::{Recorder, RequestLine, RequestRecord};

/// The maximum number of connections to the metrics listener.
const MONITORS: usize = 64;
/// The interval at which rejected connections are logged.
const LOG_REJECTED: Duration = Duration::from_secs(1);

/// The state that all connections share.
pub(crate) struct Connections {
    settings: Live,
    admission: Arc<Admission>,
    /// Counts the connections of the metrics listener separately, so that clients cannot take them.
    monitors: Arc<Admission>,
    process: Arc<Process>,
    /// Whether another process may have the listening sockets open too.
    is_inherited: bool,
    /// Whether another process serves them from now on.
    is_replaced: AtomicBool,
    open: TaskTracker,
    rejected: Rejected,
    recorder: Arc<Recorder>,
}

impl Connections {
    /// Makes the state. With `is_inherited`, another process may still have listening sockets open.
    pub(crate) fn new(
        settings: Live,
        is_inherited: bool,
        recorder: Arc<Recorder>,
        metrics: NetMetrics,
    ) -> Self {
        Self {
            settings,
            admission: Arc::default(),
            monitors: Arc::default(),
            process: Arc::default(),
            is_inherited,
            is_replaced: AtomicBool::new(false),
            open: TaskTracker::new(),
            rejected: Rejected::new(metrics),
            recorder,
        }
    }

    /// Records that another process serves the listening sockets from now on.
    pub(crate) fn hand_over(&self) {
        self.is_replaced.store(true, Ordering::Relaxed);
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Returns the number of requests in progress.
    pub(crate) fn requests(&self) -> usize {
        self.admission.requests()
    }

    /// Returns whether the process is shutting down.
    pub(crate) fn is_draining(&self) -> bool {
        self.process.is_draining()
    }

    /// Accepts connections of a listener until the shutdown begins, then closes the idle ones. Each is
    /// served on the loop that has the fewest, by that loop's part of `apps`.
    ///
    /// A request that arrives just then is still answered: connections without a request are closed
    /// only after [`LINGER`].
    pub(crate) async fn accept<S: Serve>(
        self: Arc<Self>,
        incoming: Incoming,
        listening: Listening,
        apps: PerLoop<Arc<S>>,
        draining: ShutdownWatch,
    ) {
        let begin = |stream, peer| self.begin(stream, peer, listening, &apps);
        self.take(incoming, draining, begin).await;
        tokio::time::sleep(LINGER).await;
        for app in apps.values() {
            app.clean_up().await;
        }
    }

    /// Accepts connections of the gRPC listener until the shutdown begins. Sends each to the loop that
    /// has the fewest.
    pub(crate) async fn accept_front_proxies(
        self: Arc<Self>,
        incoming: Incoming,
        loops: PerLoop<UnboundedSender<FromFrontProxy>>,
        draining: ShutdownWatch,
    ) {
        let begin = |stream, peer| {
            let Some(counted) = self.admit_front_proxy(peer) else {
                return;
            };
            // The queue cannot grow without bound: each connection in it has been counted.
            let (sender, place) = loops.least();
            if sender
                .send(FromFrontProxy {
                    stream,
                    counted,
                    place,
                })
                .is_err()
            {
                tracing::error!("an event loop serves no more gRPC connections");
            }
        };
        self.take(incoming, draining, begin).await;
    }

    async fn take(
        &self,
        incoming: Incoming,
        draining: ShutdownWatch,
        begin: impl Fn(TcpStream, SocketAddr),
    ) {
        incoming.take(draining, &begin).await;
        self.process.drain();
        if !self.is_replaced.load(Ordering::Relaxed) {
            incoming.take_last(self.is_inherited, &begin).await;
        }
    }

    /// Starts the task of a connection, if the limits allow it. A connection over a Unix socket has
    /// no address.
    fn begin<S: Serve>(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        listening: Listening,
        apps: &PerLoop<Arc<S>>,
    ) {
        if !self.process.is_clock_usable(SystemTime::now()) {
            return;
        }
        let settings = self.settings.load_full();
        // The client behind a load balancer is known only after the PROXY header.
        let of = (!settings.acceptor(listening).is_load_balancer(peer)).then_some(peer);
        let counted = match listening {
            Listening::Metrics => self.count_monitor().map_err(|_| Cause::OfMetrics),
            Listening::Service | Listening::Gateway | Listening::Admin => {
                self.count(of, &settings).map_err(Cause::from)
            }
        };
        let counted = match counted {
            Ok(counted) => counted,
            Err(cause) => return self.rejected.add(cause, Some(peer)),
        };
        let client = Client {
            settings: Arc::clone(&self.settings),
            admission: Arc::clone(&self.admission),
            listening,
            address: Some(peer.ip().to_canonical()),
            share: counted.share(),
        };
        let (app, place) = apps.least();
        let (this, app) = (Arc::clone(self), Arc::clone(app));
        let event_loop = Arc::clone(place.event_loop());
        let draining = event_loop.draining();
        let served = async move {
            match adopt(stream, &place) {
                Ok(stream) => {
                    let stream = (stream, peer);
                    this.serve(client, app, stream, draining, settings).await;
                }
                Err(error) => tracing::debug!(%error, "the client closed the connection at once"),
            }
            drop((counted, place));
        };
        self.open.spawn_on(served, event_loop.handle());
    }

    /// Logs the number of rejected connections periodically, until `shutdown`.
    pub(crate) async fn log_rejected(self: Arc<Self>, mut shutdown: ShutdownWatch) {
        while timeout(LOG_REJECTED, shutdown.wait_for(|&draining| draining))
            .await
            .is_err()
        {
            self.rejected.log_counts(false);
        }
        self.rejected.log_counts(true);
    }

    /// Returns the current settings.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Counts a connection of the gRPC listener until the returned value is dropped. Returns `None`
    /// if a limit is reached.
    fn admit_front_proxy(&self, peer: SocketAddr) -> Option<Counted> {
        if !self.process.is_clock_usable(SystemTime::now()) {
            return None;
        }
        let address = peer.ip().to_canonical();
        if !self.settings.load().is_front_proxy(address) {
            let record = RequestRecord::new(self.recorder.next_id());
            let line = RequestLine::default();
            let rejection = Rejection::Untrusted;
            self.recorder
                .log_rejected((None, None), Some(address), rejection, line, &record);
            return None;
        }
        match self.count(Some(peer), &self.settings.load()) {
            Ok(counted) => Some(Counted {
                _open: Some(self.open.token()),
                ..counted
            }),
            Err(full) => {
                self.rejected.add(full.into(), Some(peer));
                None
            }
        }
    }

    /// Counts a connection in total, and for its address if known.
    fn count(&self, peer: Option<SocketAddr>, settings: &Settings) -> Result<Counted, Full> {
        let all = self.admission.admit(settings.limits.connections)?;
        let from = peer
            .map(|peer| self.admit_from(peer, settings))
            .transpose()?;
        Ok(Counted {
            _all: all,
            _from: from.flatten(),
            _open: None,
        })
    }

    fn count_monitor(&self) -> Result<Counted, Full> {
        Ok(Counted {
            _all: self.monitors.admit(MONITORS)?,
            _from: None,
            _open: None,
        })
    }

    /// Counts a connection for its address, unless that is a front proxy, from which all clients
    /// come.
    pub(super) fn admit_from(
        &self,
        peer: SocketAddr,
        settings: &Settings,
    ) -> Result<Option<AddressSlot>, Full> {
        let address = peer.ip().to_canonical();
        if settings.is_front_proxy(address) {
            return Ok(None);
        }
        self.admission
            .admit_from(address, &settings.limits)
            .map(Some)
    }

    /// Serves the requests of a connection. Closes it if its start or a header is not complete in
    /// time, however steadily bytes arrive.
    async fn serve<S: Serve>(
        self: Arc<Self>,
        mut client: Client,
        app: Arc<S>,
        (stream, from): (TcpStream, SocketAddr),
        shutdown: ShutdownWatch,
        settings: Arc<Settings>,
    ) {
        let deadline = Instant::now() + settings.timeouts.header;
        // Boxed, so that a connection does not keep the room of its handshake.
        let begun = S::begin(settings.acceptor(client.listening), stream, from);
        let begun = match Box::pin(timeout_at(deadline, begun)).await {
            Ok(Ok(begun)) => begun,
            Ok(Err(BadStart::NoProxyHeader)) => {
                return self.rejected.add(Cause::ProxyHeader, Some(from));
            }
            Ok(Err(BadStart::PlainHttp)) => {
                return self.rejected.add(Cause::PlainHttp, Some(from));
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection failed before HTTP began");
                return;
            }
            Err(_) => {
                tracing::debug!("a connection timed out before HTTP began");
                return;
            }
        };
        let named = S::address(&begun).filter(|named| *named != from);
        let admitted = named.map(|peer| self.admit_from(peer, &settings));
        let admitted = match admitted.transpose() {
            Ok(admitted) => admitted.flatten(),
            Err(full) => return self.rejected.add(full.into(), named),
        };
        if let Some(named) = named {
            client.address = Some(named.ip().to_canonical());
            client.share = admitted.as_ref().map(|from| Arc::clone(from.share()));
        }
        // So that a long connection does not keep old settings.
        drop(settings);
        let process = Arc::clone(&self.process);
        app.serve(begun, client, process, (shutdown, deadline))
            .await;
        drop(admitted);
    }

    /// Waits until every connection has ended, at most `grace`. Returns the number of those that
    /// have not.
    pub(crate) async fn finish(&self, grace: Duration) -> usize {
        self.open.close();
        let _ = timeout(grace, self.open.wait()).await;
        self.open.len()
    }
}
