//! Setup that most commands share.

use std::path::Path;

use tokio::runtime::Runtime;

use super::error::CliError;
use crate::config::{Config, Inputs};
use crate::net::loops;

/// Reads the configuration file and the environment, which overrides it.
pub(super) fn load(config: Option<&Path>) -> Result<Config, CliError> {
    Ok(Config::load(config, std::env::vars_os())?)
}

/// Like [`load`]. Also returns the files that were read, even if there is an error.
pub(super) fn read(config: Option<&Path>) -> (Result<Config, CliError>, Inputs) {
    let (config, inputs) = Config::read(config, std::env::vars_os());
    (config.map_err(CliError::from), inputs)
}

/// Makes the event loop of a command.
pub(super) fn runtime() -> Result<Runtime, CliError> {
    loops::background().map_err(CliError::Runtime)
}
