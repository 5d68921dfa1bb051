mod command;
mod here;
mod many;
mod new;
mod row;
mod terms;
mod there;

use std::path::Path;

use super::error::CliError;
use super::output::Output;
use super::setup::runtime;
pub(super) use command::Command;
pub(super) use new::print as print_new;

pub(super) fn run(command: Command, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    match command.server()? {
        Some(server) => runtime()?.block_on(there::run(&server, command, output)),
        None => here::run(command, config, output),
    }
}
