//! Signals: those that end the process, and those that must not, from its start.

use std::io;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of a server, collected from startup. One that arrives before the configuration is
/// read takes effect once the server runs.
pub(super) struct Early {
    pub(super) hangups: Signal,
    pub(super) replacements: Signal,
}

impl Early {
    /// Installs the handlers.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub(super) fn listen() -> io::Result<Self> {
        with_an_event_loop(|| {
            Ok(Self {
                hangups: signal(SignalKind::hangup())?,
                replacements: signal(SignalKind::user_defined2())?,
            })
        })
    }
}

/// The signals that end the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Makes a write beyond the file size limit (`ulimit -f`) an error, instead of ending the process.
///
/// # Errors
/// A handler cannot be installed.
pub(super) fn survive_long_files() -> io::Result<()> {
    let number = rustix::process::Signal::XFSZ.as_raw();
    // The handler stays installed without a listener.
    with_an_event_loop(|| signal(SignalKind::from_raw(number)).map(drop))
}

/// Installs handlers, which needs an event loop. They belong to the process, so later event loops
/// receive the signals too.
fn with_an_event_loop<T>(set: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    set()
}
