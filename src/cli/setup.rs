//! Setup that most commands share.

use std::path::Path;

use tokio::runtime::Runtime;

use super::error::CliError;
use crate::config::Config;
use crate::net::loops;

/// Reads the configuration file and the environment, which overrides it.
pub(super) fn load(config: Option<&Path>) -> Result<Config, CliError> {
    Ok(Config::load(config, std::env::vars_os())?)
}

/// Makes the event loop of a command.
pub(super) fn runtime() -> Result<Runtime, CliError> {
    loops::background().map_err(CliError::Runtime)
}
