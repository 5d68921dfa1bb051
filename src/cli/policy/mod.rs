//! `realmgate policy`: what routes do, and what a change of them does.

mod cases;
mod diff;
mod test;

use std::path::Path;

use super::error::CliError;
use super::output::Output;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check that the routes decide each case of a file as expected
    ///
    /// Sends nothing. Exit codes: 0 every case holds; 1 some do not; 2 the file or the configuration is wrong; 3 the
    /// database cannot be read (with --connect).
    Test(test::Args),
    /// Show what a change of the routes opens and closes, and for whom
    ///
    /// Compares the decisions about all requests, not the text of the files. Exit codes: 0 no difference in effect; 1
    /// some; 2 a configuration is wrong.
    Diff(diff::Args),
}

pub(super) fn run(
    command: &Command,
    config: Option<&Path>,
    output: Output,
) -> Result<(), CliError> {
    match command {
        Command::Test(args) => test::run(args, config, output),
        Command::Diff(args) => diff::run(args, output),
    }
}
