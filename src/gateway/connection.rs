//! Connections from their acceptance to the end of the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::GetSocketDigest;
use pingora::protocols::l4::listener::Listener;
use pingora::protocols::l4::stream::Stream;
use pingora::proxy::Session;
use pingora::server::ShutdownWatch;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::admission::{Admission, Admitted};
use super::rules::Live;

/// How long requests that are on their way when draining begins still count as in time.
const LINGER: Duration = Duration::from_millis(250);
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
    draining: AtomicBool,
    open: TaskTracker,
}

impl Connections {
    pub(crate) fn new(rules: Live) -> Self {
        Self {
            rules,
            admission: Arc::default(),
            draining: AtomicBool::new(false),
            open: TaskTracker::new(),
        }
    }

    /// Says whether the process is about to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Sets a request's deadlines; Pingora has none of its own once a connection is reused.
    pub(crate) fn prepare(&self, session: &mut Session) {
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
                    Ok(mut stream) => {
                        let Some(admitted) = self.admit(&stream) else {
                            continue;
                        };
                        if let Err(error) = stream.set_nodelay() {
                            tracing::debug!(%error, "a connection was gone at once");
                            continue;
                        }
                        let serve = serve(
                            Arc::clone(&app),
                            Box::new(stream),
                            watch.clone(),
                            self.rules.load().timeouts.header,
                            admitted,
                        );
                        self.open.spawn(serve);
                    }
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

    /// Counts a connection in, or says why it cannot stay. One over a Unix socket is not counted.
    fn admit(&self, stream: &Stream) -> Option<Option<Admitted>> {
        let digest = stream.get_socket_digest();
        let peer = digest.and_then(|digest| digest.peer_addr()?.as_inet().copied());
        let Some(peer) = peer else {
            return Some(None);
        };
        let rules = self.rules.load();
        let admitted = self
            .admission
            .admit(peer.ip(), &rules.limits, &rules.trusted_proxies);
        match admitted {
            Ok(admitted) => Some(Some(admitted)),
            Err(full) => {
                tracing::warn!(%peer, ?full, "too many connections");
                None
            }
        }
    }

    /// Waits until every connection has ended, at most `grace`; returns how many have not.
    pub(crate) async fn finish(&self, grace: Duration) -> usize {
        self.open.close();
        let _ = tokio::time::timeout(grace, self.open.wait()).await;
        self.open.len()
    }
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

/// Serves the requests of a connection. A header that is not whole in time ends it, however steadily it
/// drips.
async fn serve<A: HttpServerApp + Send + Sync + 'static>(
    app: Arc<A>,
    stream: Box<Stream>,
    shutdown: ShutdownWatch,
    limit: Duration,
    _admitted: Option<Admitted>,
) {
    let deadline = Arc::new(HeaderDeadline::new(limit));
    let served = HEADER.scope(Arc::clone(&deadline), async move {
        let mut reusable = app.process_new(stream, &shutdown).await;
        while let Some(stream) = reusable {
            reusable = app.process_new(stream, &shutdown).await;
        }
    });
    tokio::select! {
        () = served => {}
        () = deadline.passed(limit) => tracing::debug!("a header came too slowly"),
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
