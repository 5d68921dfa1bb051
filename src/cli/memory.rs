use std::fs;
use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

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

/// Says whether core dumps are off already. A service manager may have set that and then forbidden all
/// calls that set or ask for limits, as `deploy/systemd` does.
fn are_off() -> bool {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    limits.lines().any(|line| {
        let limits = line.strip_prefix("Max core file size");
        limits.is_some_and(|it| it.split_whitespace().take(2).all(|it| it == "0"))
    })
}
