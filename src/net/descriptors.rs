//! How many files the process may have open: each connection is one.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// The soft and the hard limit; none where there is none, or it cannot be read.
///
/// Not asked of the kernel by a call: `deploy/systemd` forbids all calls that set or ask for limits.
fn limits() -> (Option<u64>, Option<u64>) {
    read(&fs::read_to_string("/proc/self/limits").unwrap_or_default())
}

fn read(limits: &str) -> (Option<u64>, Option<u64>) {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let mut numbers = line.unwrap_or_default().split_whitespace();
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    (next(), next())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max core file size        0                    0                    bytes     \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(read(text), (Some(1024), Some(524_288)));
        let unlimited =
            "Max open files            1024                 unlimited            files\n";
        assert_eq!(read(unlimited), (Some(1024), None));
        assert_eq!(read(""), (None, None));
    }
}
