//! Write timeouts of HTTP/2 responses. hyper waits for the client's window without a limit.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

tokio::task_local! {
    /// When the client was first offered the current part of this task's response; `None` if there
    /// is none.
    static SINCE: Arc<Mutex<Option<Instant>>>;
}

/// Records that hyper has a part of this task's response that the client must take, or waits for
/// one.
pub(super) fn passed(is_part: bool) {
    let now = is_part.then(Instant::now);
    // Outside of `watch` there is no value to set.
    let _ = SINCE.try_with(|since| *since.lock() = now);
}

/// Sends a response. Fails if the client reads nothing for `write`.
pub(super) async fn watch(sending: impl Future<Output = ()>, write: Duration) {
    let since = Arc::new(Mutex::new(None));
    let sending = SINCE.scope(Arc::clone(&since), sending);
    let stopped = async {
        loop {
            let at = *since.lock();
            match at.map(|at| at + write) {
                Some(end) if end <= Instant::now() => return,
                Some(end) => sleep_until(end).await,
                None => sleep(write).await,
            }
        }
    };
    tokio::select! {
        biased;
        () = sending => {}
        () = stopped => tracing::debug!("the client does not read the response: its stream is reset"),
    }
}
