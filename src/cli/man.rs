use std::path::PathBuf;

use super::error::CliError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory for the pages; created if it is missing
    directory: PathBuf,
}

pub(super) fn run(args: &Args, command: clap::Command) -> Result<(), CliError> {
    let unwritable = |error| CliError::Write(args.directory.clone(), error);
    std::fs::create_dir_all(&args.directory).map_err(unwritable)?;
    clap_mangen::generate_to(command, &args.directory).map_err(unwritable)
}
