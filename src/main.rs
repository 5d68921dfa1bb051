//! The `realmgate` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// Requests make small, short-lived allocations on a few threads, which this allocator handles
/// well. Freed memory is zeroed, because buffers contain tokens, and seeds that are shown.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    realmgate::cli::run()
}
