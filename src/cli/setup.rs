//! What most commands begin with.

use std::path::Path;

use tokio::runtime::{Builder, Runtime};

use super::error::CliError;
use crate::config::Config;

/// Reads the configuration, and the environment over it.
pub(super) fn load(config: Option<&Path>) -> Result<Config, CliError> {
    Ok(Config::load(config, std::env::vars_os())?)
}

/// Makes the event loop of a command; `threads` serve requests.
pub(super) fn runtime(threads: usize) -> Result<Runtime, CliError> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)
}
