use std::io::Write;

use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Shell to complete for
    shell: Shell,
}

pub(super) fn run(args: &Args, mut command: clap::Command) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "realmgate", &mut script);
    // A reader that has gone away wants no more of it.
    let _ = std::io::stdout().lock().write_all(&script);
}
