//! Identities of the local database as they are printed.

use super::row::{self, Shown};
use crate::auth::{Failures, Identity, Seed};
use crate::cli::local_store::{LocalStore, now};
use crate::cli::output::Output;
use crate::doors::v1::{otpauth, show, types};

/// Returns an identity without its failures, which the local database alone does not tell.
pub(super) fn shown(identity: &Identity) -> types::Identity {
    show(identity, Failures::default(), now())
}

/// Prints an identity with its new seed.
pub(in crate::cli) fn print(local: &LocalStore, identity: &Identity, seed: &Seed, output: Output) {
    row::print(&with_seed(local, identity, seed), Shown::Plain, output);
}

/// Returns an identity with its new seed.
fn with_seed(local: &LocalStore, identity: &Identity, seed: &Seed) -> types::Identity {
    let mut shown = shown(identity);
    let seed = seed.to_base32();
    shown.otpauth = Some(otpauth(identity, &seed, &local.config.totp.issuer));
    shown.seed = Some(seed.as_str().to_owned());
    shown
}
