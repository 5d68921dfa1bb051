//! Connections from their acceptance to the end of the process.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::GetSocketDigest;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::listener::Listener;
use pingora::protocols::l4::stream::Stream;
use pingora::server::ShutdownWatch;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::admission::{Admission, Admitted, AdmittedFrom, Full};
use super::http2;
use super::rules::{Listening, Live, Rules};
use super::wire::Http;

/// How long requests that are on their way when draining begins still count as in time.
pub(crate) const LINGER: Duration = Duration::from_millis(250);
/// The most connections to the metrics listener.
const MONITORS: usize = 64;
/// How long accepting rests after an error that only time can mend, such as no free descriptor.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

tokio::task_local! {
    /// The deadline of the connection that a task serves.
    static HEADER: Arc<HeaderDeadline>;
}

/// What holds for all connections.
pub(crate) struct Connections {
    rules: Live,
    admission: Arc<Admission>,
    /// Counts the connections of the metrics listener, so that clients cannot take them.
    monitors: Arc<Admission>,
    draining: AtomicBool,
    open: TaskTracker,
}

impl Connections {
    pub(crate) fn new(rules: Live) -> Self {
        Self {
            rules,
            admission: Arc::default(),
            monitors: Arc::default(),
            draining: AtomicBool::new(false),
            open: TaskTracker::new(),
        }
    }

    /// Returns how many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Says whether the process is about to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Sets a request's deadlines; Pingora has none of its own once a connection is reused.
    pub(crate) fn prepare(&self, session: &mut ServerSession) {
        // None on a stream of HTTP/2, which is a task of its own.
        let _ = HEADER.try_with(|header| header.lift());
        let timeouts = self.rules.load().timeouts;
        // Only shorter, never longer: Pingora ends a connection that HTTP/1.0 does not ask to keep, and
        // one on which a message was framed in two ways.
        if session.get_keepalive().is_some() {
            let keep_alive = (!self.is_draining()).then_some(timeouts.keep_alive.as_secs());
            session.set_keepalive(keep_alive);
        }
        session.set_read_timeout(Some(timeouts.read));
        session.set_write_timeout(Some(timeouts.write));
    }

    /// Notes that a request has been answered: the next one may be waited for, and must then come.
    pub(crate) fn answered(&self) {
        let timeouts = self.rules.load().timeouts;
        let limit = timeouts.keep_alive + timeouts.header;
        let _ = HEADER.try_with(|header| header.set(limit));
    }

    /// Accepts connections until `shutdown`, then lets go of the idle ones.
    ///
    /// What was being read when it begins still gets its answer: connections without a request end
    /// only after [`LINGER`].
    pub(crate) async fn accept<A>(
        self: Arc<Self>,
        listener: TcpListener,
        listening: Listening,
        app: Arc<A>,
        mut shutdown: ShutdownWatch,
    ) where
        A: HttpServerApp + Send + Sync + 'static,
    {
        let listener = Listener::from(listener);
        let watch = shutdown.clone();
        let draining = async move { drop(shutdown.wait_for(|&draining| draining).await) };
        tokio::pin!(draining);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(stream) => self.begin(stream, listening, &app, &watch),
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection failed");
                        if !is_of_one_connection(&error) {
                            tokio::time::sleep(ACCEPT_AGAIN).await;
                        }
                    }
                },
                () = &mut draining => break,
            }
        }
        self.draining.store(true, Ordering::Relaxed);
        drop(listener);
        tokio::time::sleep(LINGER).await;
        app.http_cleanup().await;
    }

    /// Lets a connection go its own way, if it may be. One over a Unix socket is of no address.
    fn begin<A>(
        self: &Arc<Self>,
        mut stream: Stream,
        listening: Listening,
        app: &Arc<A>,
        shutdown: &ShutdownWatch,
    ) where
        A: HttpServerApp + Send + Sync + 'static,
    {
        let rules = self.rules.load_full();
        let peer = peer_of(&stream);
        // Of a load balancer's connections it is known later whose they are.
        let of = peer.filter(|peer| !rules.wire(listening).is_load_balancer(*peer));
        let counted = match listening {
            Listening::Metrics => self.count_monitor(),
            Listening::Service | Listening::Gateway => self.count(of, &rules),
        };
        let counted = match counted {
            Ok(counted) => counted,
            Err(full) => return refused(peer, full),
        };
        if let Err(error) = stream.set_nodelay() {
            tracing::debug!(%error, "a connection was gone at once");
            return;
        }
        let served =
            Arc::clone(self).serve(Arc::clone(app), stream, shutdown.clone(), rules, listening);
        self.open.spawn(async move {
            served.await;
            drop(counted);
        });
    }

    /// Returns how long the beginning of a connection may take.
    pub(crate) fn patience(&self) -> Duration {
        self.rules.load().timeouts.header
    }

    /// Counts a connection of a listener that is not served here, as long as what this returns lives;
    /// none if it cannot stay.
    pub(crate) fn admit(&self, peer: SocketAddr) -> Option<Counted> {
        match self.count(Some(peer), &self.rules.load()) {
            Ok(counted) => Some(Counted {
                _open: Some(self.open.token()),
                ..counted
            }),
            Err(full) => {
                refused(Some(peer), full);
                None
            }
        }
    }

    /// Counts a connection in all, and for its address if it is known.
    fn count(&self, peer: Option<SocketAddr>, rules: &Rules) -> Result<Counted, Full> {
        let all = self.admission.admit(rules.limits.connections)?;
        let from = peer.map(|peer| self.admit_from(peer, rules)).transpose()?;
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

    /// Counts a connection for its address; not for a front proxy, whose clients all come from there.
    fn admit_from(&self, peer: SocketAddr, rules: &Rules) -> Result<Option<AdmittedFrom>, Full> {
        let address = peer.ip().to_canonical();
        if rules.trusted_proxies.iter().any(|it| it.contains(&address)) {
            return Ok(None);
        }
        self.admission.admit_from(address, &rules.limits).map(Some)
    }

    /// Serves the requests of a connection. A beginning or a header that is not whole in time ends it,
    /// however steadily it drips.
    async fn serve<A: HttpServerApp + Send + Sync + 'static>(
        self: Arc<Self>,
        app: Arc<A>,
        stream: Stream,
        shutdown: ShutdownWatch,
        rules: Arc<Rules>,
        listening: Listening,
    ) {
        let header = rules.timeouts.header;
        let deadline = Arc::new(HeaderDeadline::new(header));
        let served = HEADER.scope(Arc::clone(&deadline), async {
            let from = peer_of(&stream);
            let begun = rules.wire(listening).begin(stream).await;
            let (stream, http) = match begun {
                Ok(begun) => begun,
                Err(error) => {
                    tracing::debug!(%error, "a connection did not begin");
                    return;
                }
            };
            let told = peer_of(&*stream).filter(|told| Some(*told) != from);
            let admitted = told.map(|peer| self.admit_from(peer, &rules)).transpose();
            let _admitted = match admitted {
                Ok(admitted) => admitted,
                Err(full) => return refused(told, full),
            };
            let keep_alive = rules.timeouts.keep_alive;
            // A long connection must not keep old rules.
            drop(rules);
            match http {
                Http::One => {
                    let mut reusable = app.process_new(stream, &shutdown).await;
                    while let Some(stream) = reusable {
                        reusable = app.process_new(stream, &shutdown).await;
                    }
                }
                Http::Two => {
                    let begun = || deadline.lift();
                    http2::serve(&app, stream, shutdown, keep_alive, begun).await;
                }
            }
        });
        tokio::select! {
            () = served => {}
            () = deadline.passed(header) => tracing::debug!("a header came too slowly"),
        }
    }

    /// Waits until every connection has ended, at most `grace`; returns how many have not.
    pub(crate) async fn finish(&self, grace: Duration) -> usize {
        self.open.close();
        let _ = tokio::time::timeout(grace, self.open.wait()).await;
        self.open.len()
    }
}

/// A connection that counts until this is dropped.
pub(crate) struct Counted {
    _all: Admitted,
    _from: Option<AdmittedFrom>,
    /// Of one that is not a task of ours.
    _open: Option<TaskTrackerToken>,
}

/// When the header that a connection is waiting for must be whole.
struct HeaderDeadline {
    accepted: Instant,
    /// Milliseconds after `accepted`; [`Self::NONE`] while a request is served.
    at: AtomicU64,
}

impl HeaderDeadline {
    const NONE: u64 = u64::MAX;

    fn new(limit: Duration) -> Self {
        let deadline = Self {
            accepted: Instant::now(),
            at: AtomicU64::new(Self::NONE),
        };
        deadline.set(limit);
        deadline
    }

    fn set(&self, limit: Duration) {
        let at = (self.accepted.elapsed() + limit).as_millis();
        let at = u64::try_from(at).unwrap_or(Self::NONE);
        self.at.store(at, Ordering::Relaxed);
    }

    fn lift(&self) {
        self.at.store(Self::NONE, Ordering::Relaxed);
    }

    /// Resolves when it has passed. `pause` is how long to rest while there is none: not longer than
    /// the shortest deadline.
    async fn passed(&self, pause: Duration) {
        loop {
            let left = match self.at.load(Ordering::Relaxed) {
                Self::NONE => pause,
                at => Duration::from_millis(at).saturating_sub(self.accepted.elapsed()),
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

fn refused(peer: Option<SocketAddr>, full: Full) {
    let peer = peer.map(tracing::field::display);
    tracing::warn!(peer, ?full, "too many connections");
}

/// Returns the address a stream comes from; none over a Unix socket.
fn peer_of(stream: &(impl GetSocketDigest + ?Sized)) -> Option<SocketAddr> {
    stream.get_socket_digest()?.peer_addr()?.as_inet().copied()
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
