//! An authentication gateway for microservices: three doors and one authority.
//!
//! The doors are the transparent proxy, forward-auth and REST, all in [`doors`].
//! [`auth::Authority`] decides for all of them. The [`store`] keeps the identities. [`client`] is a
//! client of the REST door.
//!
//! Only the authority makes an [`auth::Permit`]; without one, no identity header is set.
//! No error path permits. A secret never appears in a log, an error or a panic.

pub mod audit;
mod budget;
pub mod cli;
mod clock;
pub mod comparison;
pub mod config;
pub mod doors;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
pub mod import;
pub mod metrics;
mod net;
mod routing;
pub mod server;
pub mod telemetry;
mod tls;
mod upstream;

pub use realmgate_client as client;
pub use realmgate_core as auth;
pub use realmgate_store as store;
