use std::path::PathBuf;

use super::error::CliError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Existing directory for the pages
    directory: PathBuf,
}

pub(super) fn run(args: &Args, command: clap::Command) -> Result<(), CliError> {
    let unwritable = |error| CliError::Write(args.directory.clone(), error);
    clap_mangen::generate_to(command, &args.directory).map_err(unwritable)
}
