//! For programs that call a service behind realmgate: [`Credential`] computes the token of each
//! request.
//!
//! These features add more. None is on by default.
//!
//! - `tower`: `AuthLayer` adds a token to each request of a tower client.
//! - `reqwest`: the same for reqwest, and a policy for its redirects.
//! - `rest`: `Client` calls the REST API of realmgate and of ungleich-otp 0.8. It registers, lists,
//!   renames, deletes and verifies identities.

#[cfg(feature = "rest")]
mod api;
#[cfg(feature = "rest")]
mod body;
mod caller;
#[cfg(feature = "rest")]
mod client;
mod credential;
mod credential_error;
#[cfg(feature = "rest")]
mod error;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod origin;
mod otpauth;
mod seed_file;
#[cfg(feature = "rest")]
mod server;
#[cfg(feature = "rest")]
mod tls;
#[cfg(feature = "rest")]
mod transport;
#[cfg(feature = "reqwest")]
mod with_reqwest;

#[cfg(feature = "rest")]
pub use api::{Api, ApiRequest, ApiResponse};
#[cfg(feature = "rest")]
pub use body::Registered;
pub use caller::{Caller, Proof};
#[cfg(feature = "rest")]
pub use client::Client;
pub use credential::Credential;
pub use credential_error::CredentialError;
#[cfg(feature = "rest")]
pub use error::{Error, Rejected};
#[cfg(feature = "tower")]
pub use layer::{Auth, AuthLayer};
#[cfg(feature = "tower")]
pub use origin::OriginError;
pub use otpauth::OtpauthError;
pub use realmgate_core::{Algorithm, Parameters, ParametersError, Totp};
pub use seed_file::{read_seed, shown_path};
#[cfg(feature = "rest")]
pub use server::ServerUrlError;
#[cfg(feature = "rest")]
pub use tls::to_servers;
#[cfg(feature = "reqwest")]
pub use with_reqwest::redirects_within_origin;
