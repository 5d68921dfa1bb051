//! Signals that must not end the process, from its first moment on.

use std::io;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a server hears of from the beginning. A signal that comes before the configuration is read counts once it
/// serves.
pub(super) struct Early {
    pub(super) hangups: Signal,
    pub(super) replacements: Signal,
}

impl Early {
    /// Begins to listen.
    ///
    /// # Errors
    /// There can be no handler.
    pub(super) fn listen() -> io::Result<Self> {
        with_an_event_loop(|| {
            Ok(Self {
                hangups: signal(SignalKind::hangup())?,
                replacements: signal(SignalKind::user_defined2())?,
            })
        })
    }
}

/// Makes an error of a write beyond a limit on the size of files (`ulimit -f`), which would end the process.
///
/// # Errors
/// There can be no handler.
pub(super) fn survive_long_files() -> io::Result<()> {
    let number = rustix::process::Signal::XFSZ.as_raw();
    // A handler that was set stays, also without anybody who listens.
    with_an_event_loop(|| signal(SignalKind::from_raw(number)).map(drop))
}

/// Sets handlers, for which there must be an event loop. Whoever listens hears of signals from any later one: the
/// handlers, and what they note, are those of the process.
fn with_an_event_loop<T>(set: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    set()
}
