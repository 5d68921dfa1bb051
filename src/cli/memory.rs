use std::fs;
use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::disable_transparent_huge_pages;

/// Keeps the memory of this process, which holds seeds, out of core dumps, and from other processes of
/// the same user.
///
/// # Errors
/// Core dumps are on, and the system does not let them be switched off.
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

/// Keeps to pages of the common size. In huge ones the heap of each thread would be 2 MiB from its first
/// object on, and requests are no quicker for it.
pub(super) fn refuse_huge_pages() {
    // A system that has none need not refuse them.
    let _ = disable_transparent_huge_pages(true);
}

/// Says whether core dumps are off already. A service manager may have set that and then forbidden all
/// calls that set or ask for limits, as `deploy/systemd` does.
fn are_off() -> bool {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    limits.lines().any(|line| {
        let limits = line.strip_prefix("Max core file size");
        limits.is_some_and(|it| it.split_whitespace().take(2).all(|it| it == "0"))
    })
}
