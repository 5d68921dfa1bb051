//! Waits until a process has nothing to do.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// The maximum wait for a process that always has something to do.
const BUSY: Duration = Duration::from_millis(500);

/// Returns when no thread of these processes has run for a moment: all of them have waited, and for
/// the same event as before. On a busy machine, that may be long after the response to a request.
pub(super) fn wait(pids: &[u32]) {
    let deadline = Instant::now() + BUSY;
    while Instant::now() < deadline {
        let before = pids.iter().map(|pid| switches(*pid));
        let before: Option<Vec<_>> = before.collect();
        if before.is_some_and(|before| {
            let same = |(pid, before): (&u32, &Vec<_>)| switches(*pid).as_ref() == Some(before);
            pids.iter().zip(&before).all(same)
        }) {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Returns how often each thread of a process has begun to wait, or `None` if one of them is
/// running or ready to. A process that has ended has no threads.
fn switches(pid: u32) -> Option<Vec<(String, String)>> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Some(Vec::new());
    };
    let mut all = Vec::new();
    for thread in threads.flatten() {
        // It may have ended.
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let line = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim().to_owned()
        };
        if line("State:").starts_with(['R', 'D']) {
            return None;
        }
        all.push((
            line("voluntary_ctxt_switches:"),
            line("nonvoluntary_ctxt_switches:"),
        ));
    }
    Some(all)
}
