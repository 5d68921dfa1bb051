use std::fs;
use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::disable_transparent_huge_pages;

/// Keeps the memory of this process, which contains seeds, out of core dumps and away from other
/// processes of the same user.
///
/// # Errors
/// Core dumps are enabled, and the system does not allow disabling them.
pub(super) fn protect() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none)
        && !are_off()
    {
        return Err(error.into());
    }
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Disables transparent huge pages. With them, the heap of each thread would take 2 MiB from its
/// first object on, and requests are no faster.
pub(super) fn disable_huge_pages() {
    // Fails on a system without huge pages.
    let _ = disable_transparent_huge_pages(true);
}

/// Returns whether core dumps are already disabled. A service manager may have disabled them and
/// then blocked all system calls for limits, as `deploy/systemd` does.
fn are_off() -> bool {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    limits.lines().any(|line| {
        let limits = line.strip_prefix("Max core file size");
        limits.is_some_and(|it| it.split_whitespace().take(2).all(|it| it == "0"))
    })
}
