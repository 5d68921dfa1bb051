use std::path::PathBuf;

use realmgate_core::{ParametersError, PrincipalError, SeedError};
use thiserror::Error;

use super::otpauth::OtpauthError;

/// Why a credential cannot be made. Never contains a seed.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// The name or realm is invalid.
    #[error(transparent)]
    Principal(#[from] PrincipalError),
    /// The seed is invalid.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The text is not an `otpauth://` URL.
    #[error(transparent)]
    Otpauth(#[from] OtpauthError),
    /// The JSON is not that of one identity with its seed.
    #[error(
        "the JSON is not one identity with its seed, as `realmgate identity create --json` prints it"
    )]
    Json,
    /// The parameters in the JSON are out of range.
    #[error("the JSON: {0}")]
    Parameters(#[from] ParametersError),
    /// The label of an `otpauth://` URL is not `name@realm`.
    #[error("the label of the otpauth URL is not name@realm")]
    Label,
    /// The seed file cannot be read, or has more than 4096 bytes.
    #[error("the seed file {0} cannot be read")]
    File(PathBuf, #[source] std::io::Error),
    /// An environment variable is missing.
    #[error("the environment variable {0} is not set")]
    Variable(&'static str),
    /// `REALMGATE_IDENTITY` is not `name@realm`.
    #[error("REALMGATE_IDENTITY is not name@realm")]
    Identity,
    /// Both variables of a seed are set.
    #[error("set either REALMGATE_SEED_FILE or REALMGATE_SEED")]
    TwoSeeds,
    /// RFC 7617 §2: the user of HTTP Basic ends at its first colon.
    #[error("a name or realm with a colon cannot be sent with Basic")]
    Colon,
}
