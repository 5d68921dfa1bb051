//! The options that name a server.

use std::path::{Path, PathBuf};

use super::server::{Server, connect};
use crate::cli::error::CliError;
use crate::cli::who::Named;

/// The server on which to run a command, instead of the local database.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Target {
    /// Run on this server instead of the local database, over its administration API: `https://otp.example.org`
    #[arg(long, value_name = "URL", requires = "caller")]
    server: Option<String>,
    /// Administrator that authenticates to the server
    #[arg(
        long = "as",
        id = "caller",
        value_name = "NAME@REALM",
        requires = "server"
    )]
    caller: Option<Named>,
    /// Token of the administrator, instead of the seed; valid for a minute or less by default
    #[arg(long, value_name = "TOKEN", requires = "server")]
    token: Option<String>,
}

/// The same, with the seed of the administrator.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Remote {
    #[command(flatten)]
    target: Target,
    /// File with the seed of the administrator, or `-` for standard input
    #[arg(
        long,
        value_name = "FILE",
        requires = "server",
        conflicts_with = "token"
    )]
    seed_file: Option<PathBuf>,
}

impl Remote {
    /// Returns the server; `None` to run on the local database.
    pub(in crate::cli) fn server(&self) -> Result<Option<Server>, CliError> {
        self.target.server(self.seed_file.as_deref())
    }
}

impl Target {
    /// Returns whether the command runs on a server.
    pub(in crate::cli) const fn is_given(&self) -> bool {
        self.server.is_some()
    }

    /// Returns the server; `None` to run on the local database.
    pub(in crate::cli) fn server(
        &self,
        seed_file: Option<&Path>,
    ) -> Result<Option<Server>, CliError> {
        let (Some(url), Some(caller)) = (&self.server, &self.caller) else {
            return Ok(None);
        };
        connect(url, caller, self.token.as_deref(), seed_file).map(Some)
    }
}
