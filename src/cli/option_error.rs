//! Mistakes in the options of a command.

use thiserror::Error;

use crate::client::{CredentialError, ServerUrlError};
use crate::store;

/// Why the options are invalid.
#[derive(Debug, Error)]
pub(super) enum OptionError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{option} does not apply to {action}")]
    Meaningless {
        option: &'static str,
        action: &'static str,
    },
    #[error("{0}")]
    Server(#[from] ServerUrlError),
    #[error("{0} is not a seed")]
    Seed(&'static str, #[source] CredentialError),
    #[error("{0} takes the seed itself, and this looks like the name of a file; use {1}")]
    FileName(&'static str, &'static str),
    #[error("URL {0}: expected a URL such as https://{0}, or a path that begins with a slash")]
    BareUrl(String),
    #[error(
        "--server: expected the credential of an administrator, --as NAME@REALM and --seed-file FILE (or --token); the caller of the request is --caller"
    )]
    NoAdministrator,
    #[error("set either REALMGATE_SEED or REALMGATE_SEED_FILE")]
    TwoSeeds,
    #[error("{0}: expected sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Database(&'static str),
    #[error("{0}: expected {1}")]
    DatabaseUrl(&'static str, store::UrlError),
    #[error(
        "--schema: expected up to 63 lower-case letters, digits and underscores, not a digit or pg_ first"
    )]
    Schema,
    #[error("only one of {0} and {1} can be read from standard input")]
    StdinTwice(&'static str, &'static str),
}
