//! The limit of open files. Each connection is one.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::files;

/// Returns the soft and the hard limit.
fn limits() -> (Option<u64>, Option<u64>) {
    files::limits("Max open files")
}

/// Raises the soft limit to the hard limit. Only programs that use `select` need a low one, and
/// this one does not.
///
/// # Errors
/// The system rejects the change.
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

/// Returns the number of files that this process may open.
pub(crate) fn limit() -> usize {
    count(limits().0)
}

/// Returns the number of files that a process may open after [`raise`].
pub fn most() -> usize {
    count(limits().1)
}

fn count(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}
