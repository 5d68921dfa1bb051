//! Notifies the service manager, if there is one (sd_notify(3), `NOTIFY_SOCKET`).

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

use crate::net::loops::Loops;

/// Reports that connections are accepted.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Reports a reload, until [`ready`].
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot notify the service manager of the reload"),
    }
}

/// Reports the shutdown.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Reports the new main process. Must be the last notification.
pub(super) fn replaced_by(pid: u32) {
    notify(&[NotifyState::MainPid(pid)]);
}

/// Reports that the event loops turn, twice as often as `WATCHDOG_USEC` asks for, until aborted.
pub(super) fn watch(loops: Loops) -> Option<JoinHandle<()>> {
    let period = sd_notify::watchdog_enabled()?.max(Duration::from_millis(2)) / 2;
    Some(tokio::spawn(async move {
        loop {
            loops.turn().await;
            notify(&[NotifyState::Watchdog]);
            tokio::time::sleep(period).await;
        }
    }))
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
