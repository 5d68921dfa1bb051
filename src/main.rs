//! The `realmgate` command.

use std::process::ExitCode;

/// Requests allocate small and short-lived things on a few threads, where this allocator is at home.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    realmgate::cli::run()
}
