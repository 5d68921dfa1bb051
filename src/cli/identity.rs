mod row;
mod terms;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::error::CliError;
use super::local_store::{LocalStore, now};
use super::output::{Output, message};
use super::secret;
use super::who::Who;
use crate::audit::Kind;
use crate::auth::{
    Algorithm, Change, Identity, NewIdentity, Parameters, Seed, Selection, State, Terms,
};
use crate::clock;
use crate::import::{FEW_BITS, LEAST_BITS};
use crate::server::authenticator;
use crate::store::Intent;
use row::{print, print_forgiven, print_new, print_with};
use terms::TermsArgs;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an identity and print its seed, once
    Create {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        seed: NewSeed,
        /// Hash algorithm: SHA1, SHA256 or SHA512 [default: totp.algorithm]
        #[arg(long)]
        algorithm: Option<Algorithm>,
        /// Number of digits of a token, 6 to 8 [default: totp.digits]
        #[arg(long)]
        digits: Option<u8>,
        /// Length of a time step in seconds, 1 to 3600 [default: totp.period]
        #[arg(long)]
        period: Option<u16>,
        #[command(flatten)]
        terms: TermsArgs,
    },
    /// Change the validity period or the comment of an identity
    Set {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        terms: TermsArgs,
    },
    /// List identities, without their seeds
    List {
        /// Only identities of this realm
        #[arg(long)]
        realm: Option<String>,
    },
    /// Show one identity, without its seed
    Show(Who),
    /// Replace the seed of an identity and print the new one, once
    Rotate {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        seed: NewSeed,
        /// How long the old seed stays valid, such as 7d
        #[arg(long, value_name = "DURATION")]
        grace: Option<humantime::Duration>,
        /// Rotate even if a previous seed is still valid; it is invalidated at once
        #[arg(long)]
        force: bool,
    },
    /// Clear the failures of an identity, so that it is no longer throttled
    Unthrottle(Who),
    /// Disable an identity
    Disable(Who),
    /// Enable a disabled identity
    Enable(Who),
    /// Delete an identity
    Delete(Who),
}

#[derive(Debug, clap::Args)]
pub(super) struct NewSeed {
    /// Read the seed (base32) from a file, or `-` for standard input, instead of generating one
    #[arg(long, value_name = "FILE")]
    seed_file: Option<PathBuf>,
}

impl NewSeed {
    fn take(&self) -> Result<Seed, CliError> {
        let Some(path) = &self.seed_file else {
            return Ok(Seed::generate()?);
        };
        let seed = Seed::from_base32(secret::file(path)?.trim())?;
        let bits = seed.as_bytes().len() * 8;
        if bits < LEAST_BITS {
            return Err(CliError::ShortSeed(bits));
        }
        if bits < FEW_BITS {
            message(&format!(
                "the seed has only {bits} bits and can be computed from a few tokens; use a longer one"
            ));
        }
        Ok(seed)
    }
}

pub(super) fn run(command: Command, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    let intent = match command {
        Command::List { .. } | Command::Show(_) => Intent::Read,
        _ => Intent::Change,
    };
    LocalStore::with(config, intent, async |local| match command {
        Command::Create {
            who,
            seed,
            algorithm,
            digits,
            period,
            terms,
        } => {
            let defaults = local.config.totp.parameters;
            let parameters = Parameters::new(
                algorithm.unwrap_or(defaults.algorithm()),
                digits.unwrap_or(defaults.digits()),
                period.unwrap_or(defaults.period()),
            )?;
            let new = NewIdentity {
                principal: local.principal(who.name(), who.realm())?,
                seed: seed.take()?,
                parameters,
                terms: terms.of(Terms::default())?,
            };
            create(local, &who, new, output).await
        }
        Command::Set { who, terms } => {
            let identity = local.find(who.name(), who.realm()).await?;
            let change = Change {
                terms: Some(terms.of(identity.terms().clone())?),
                ..Change::default()
            };
            let kind = Kind::IdentityChanged;
            update(local, &who, kind, change, |identity| {
                print(identity, output);
            })
            .await
        }
        Command::Unthrottle(who) => {
            let change = Change {
                unthrottle: true,
                ..Change::default()
            };
            let identity = local.find(who.name(), who.realm()).await?;
            let authenticator = authenticator(&local.config, &local.store).await?;
            let forgiven = authenticator.failures(&identity, now());
            update(local, &who, Kind::IdentityUnthrottled, change, |identity| {
                print_forgiven(identity, forgiven, output);
            })
            .await
        }
        Command::List { realm } => list(local, realm.as_deref(), output).await,
        Command::Show(who) => {
            let identity = local.find(who.name(), who.realm()).await?;
            let authenticator = authenticator(&local.config, &local.store).await?;
            print_with(&identity, authenticator.failures(&identity, now()), output);
            Ok(())
        }
        Command::Rotate {
            who,
            seed,
            grace,
            force,
        } => {
            let identity = local.find(who.name(), who.realm()).await?;
            if let Some(until) = identity.previous_until()
                && now() < until
                && !force
            {
                return Err(CliError::StillCounts(until));
            }
            let seed = seed.take()?;
            let change = Change {
                seed: Some(seed.clone()),
                // Failures against the old seed reveal nothing about the new one.
                unthrottle: true,
                grace: grace.map(|grace| clock::after(*grace).into()),
                ..Change::default()
            };
            let kind = Kind::IdentityRotated;
            update(local, &who, kind, change, |identity| {
                print_new(identity, &seed, &local.config.totp.issuer, output);
            })
            .await
        }
        Command::Disable(who) => set_state(local, &who, State::Disabled, output).await,
        Command::Enable(who) => set_state(local, &who, State::Enabled, output).await,
        Command::Delete(who) => {
            let identity = local.find(who.name(), who.realm()).await?;
            let deleted = local.store.delete(identity.id).await?;
            let deleted = deleted.ok_or_else(|| not_found(&who))?;
            output.print(&serde_json::json!({ "deleted": identity.id.0 }), || {
                format!("deleted {deleted:?}")
            });
            local
                .record(Kind::IdentityDeleted, identity.id, &deleted)
                .await
        }
    })
}

async fn create(
    local: &LocalStore,
    who: &Who,
    new: NewIdentity,
    output: Output,
) -> Result<(), CliError> {
    let seed = new.seed.clone();
    let created = local.store.create(new, now()).await;
    let identity = created.map_err(|error| CliError::of_change(error, who.name(), who.realm()))?;
    // Printed first, because the seed is valid even if the audit log fails.
    print_new(&identity, &seed, &local.config.totp.issuer, output);
    local
        .record(Kind::IdentityCreated, identity.id, &identity.principal)
        .await
}

async fn list(local: &LocalStore, realm: Option<&str>, output: Output) -> Result<(), CliError> {
    let selection = Selection {
        realm: realm.map(Into::into),
        name: None,
    };
    local
        .each(&selection, |identity| {
            print(identity, output);
            Ok(())
        })
        .await
}

async fn set_state(
    local: &LocalStore,
    who: &Who,
    state: State,
    output: Output,
) -> Result<(), CliError> {
    let change = Change {
        state: Some(state),
        unthrottle: state == State::Enabled,
        ..Change::default()
    };
    let kind = match state {
        State::Enabled => Kind::IdentityEnabled,
        State::Disabled => Kind::IdentityDisabled,
    };
    update(local, who, kind, change, |identity| print(identity, output)).await
}

/// Changes an identity, prints it, and writes the audit log. Prints it even if the audit log fails,
/// because the output may contain a new seed.
async fn update(
    local: &LocalStore,
    who: &Who,
    kind: Kind,
    change: Change,
    print: impl FnOnce(&Identity),
) -> Result<(), CliError> {
    let identity = local.find(who.name(), who.realm()).await?;
    let changed = local
        .store
        .update(identity.id, change, now())
        .await
        .map_err(|error| CliError::of_change(error, who.name(), who.realm()))?
        .ok_or_else(|| not_found(who))?;
    print(&changed.identity);
    local
        .record(kind, identity.id, &changed.identity.principal)
        .await
}

fn not_found(who: &Who) -> CliError {
    CliError::NotFound {
        name: who.name().to_owned(),
        realm: who.realm().to_owned(),
    }
}
