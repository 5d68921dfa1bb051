//! Responses over HTTP/2 that their client does not take. hyper waits for the client's window without a limit.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

tokio::task_local! {
    /// Since when the client has had to take a part of the response that the task sends; none while there is none.
    static SINCE: Arc<Mutex<Option<Instant>>>;
}

/// Notes that hyper has got a part of the response of this task, which the client has to take, or waits for one.
pub(super) fn passed(is_part: bool) {
    let now = is_part.then(Instant::now);
    // Outside of `watch` it is only asked for.
    let _ = SINCE.try_with(|since| *since.lock() = now);
}

/// Sends a response. Gives up where the client has taken nothing for as long as `write`.
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
        () = stopped => tracing::debug!("the client takes nothing of the response: its stream is reset"),
    }
}
