//! The state of the process that connections depend on: whether it is shutting down, and whether
//! the clock is usable.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use crate::clock;

/// The state of the process.
#[derive(Default)]
pub(crate) struct Process {
    is_draining: AtomicBool,
    is_clock_off: AtomicBool,
}

impl Process {
    /// Begins the shutdown.
    pub(super) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Returns whether the process is shutting down.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Returns whether the clock is usable, and logs a change. At other times a response could have
    /// no date, and Pingora, hyper and the gRPC listener would panic.
    pub(crate) fn is_clock_usable(&self, now: SystemTime) -> bool {
        let is_usable = clock::is_usable(now);
        if self.is_clock_off.load(Ordering::Relaxed) == is_usable {
            self.is_clock_off.store(!is_usable, Ordering::Relaxed);
            if is_usable {
                tracing::info!("the clock is usable again");
            } else {
                tracing::error!(
                    "the clock is set before 1970 or after 9999: connections are closed"
                );
            }
        }
        is_usable
    }
}
