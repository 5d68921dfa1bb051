//! Connections from their acceptance to the end of the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::l4::listener::Listener;
use pingora::proxy::Session;
use pingora::server::ShutdownWatch;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::config;

/// How long requests that are on their way when draining begins still count as in time.
const LINGER: Duration = Duration::from_millis(250);
/// How long accepting rests after an error that only time can mend, such as no free descriptor.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What holds for all connections.
pub(crate) struct Connections {
    timeouts: config::Timeouts,
    draining: AtomicBool,
    open: TaskTracker,
}

impl Connections {
    pub(crate) fn new(timeouts: config::Timeouts) -> Self {
        Self {
            timeouts,
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
        // Only shorter, never longer: Pingora ends a connection that HTTP/1.0 does not ask to keep, and
        // one on which a message was framed in two ways.
        if session.get_keepalive().is_some() {
            let keep_alive = (!self.is_draining()).then_some(self.timeouts.keep_alive.as_secs());
            session.set_keepalive(keep_alive);
        }
        session.set_read_timeout(Some(self.timeouts.read));
        session.set_write_timeout(Some(self.timeouts.write));
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
                        if let Err(error) = stream.set_nodelay() {
                            tracing::debug!(%error, "a connection was gone at once");
                            continue;
                        }
                        let app = Arc::clone(&app);
                        let shutdown = watch.clone();
                        self.open.spawn(async move {
                            let mut reusable = app.process_new(Box::new(stream), &shutdown).await;
                            while let Some(stream) = reusable {
                                reusable = app.process_new(stream, &shutdown).await;
                            }
                        });
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

    /// Waits until every connection has ended, at most `grace`; returns how many have not.
    pub(crate) async fn finish(&self, grace: Duration) -> usize {
        self.open.close();
        let _ = tokio::time::timeout(grace, self.open.wait()).await;
        self.open.len()
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
