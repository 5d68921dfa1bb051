use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::process::{getrlimit, set_dumpable_behavior, setrlimit};

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
    // A service manager may forbid the call, after it has set the limit itself.
    if let Err(error) = setrlimit(Resource::Core, none)
        && getrlimit(Resource::Core).current != Some(0)
    {
        return Err(error.into());
    }
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
