//! How many files the process may have open: each connection is one.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::files;

/// The soft and the hard limit.
fn limits() -> (Option<u64>, Option<u64>) {
    files::limits("Max open files")
}

/// Raises the soft limit to the hard one. Programs that watch files by `select` need a low one; this is
/// none.
///
/// # Errors
/// The system does not allow it.
pub fn raise() -> io::Result<()> {
    let (soft, hard) = limits();
    let is_raised = match (soft, hard) {
        (Some(soft), Some(hard)) => soft >= hard,
        (None, _) => true,
        (Some(_), None) => false,
    };
    if is_raised {
        return Ok(());
    }
    let raised = Rlimit {
        current: hard,
        maximum: hard,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// Returns how many files this process may have open.
pub(crate) fn limit() -> usize {
    count(limits().0)
}

/// Returns how many files a process may have open that has raised its limit.
pub fn most() -> usize {
    count(limits().1)
}

fn count(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}
