//! Setup that most commands share.

use std::path::Path;

use tokio::runtime::{Builder, Runtime};

use super::error::CliError;
use crate::config::Config;

/// Reads the configuration file and the environment, which overrides it.
pub(super) fn load(config: Option<&Path>) -> Result<Config, CliError> {
    Ok(Config::load(config, std::env::vars_os())?)
}

/// Makes the event loop of a command with this many worker threads.
pub(super) fn runtime(threads: usize) -> Result<Runtime, CliError> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)
}
