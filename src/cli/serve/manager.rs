//! What the service manager is told, if there is one (sd_notify(3), `NOTIFY_SOCKET`).

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

/// The connections are accepted.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again, until [`ready`].
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot notify the service manager of the reload"),
    }
}

/// The process is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Another process is the service from now on. Nothing may be said after this.
pub(super) fn replaced_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

/// Says that the event loop turns, twice as often as `WATCHDOG_USEC` asks for, until aborted.
pub(super) fn watch() -> Option<JoinHandle<()>> {
    let period = sd_notify::watchdog_enabled()?.max(Duration::from_millis(2)) / 2;
    Some(tokio::spawn(async move {
        loop {
            tell(&[NotifyState::Watchdog]);
            tokio::time::sleep(period).await;
        }
    }))
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
