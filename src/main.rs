//! The `realmgate` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// Requests allocate small and short-lived things on a few threads, where this allocator is at home. What is
/// freed is zeroed: buffers hold tokens, and seeds that are shown.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    realmgate::cli::run()
}
