use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::error::CliError;
use super::local_store::{LocalStore, now};
use super::output::Output;
use super::secret;
use crate::auth::{Algorithm, Change, Identity, NewIdentity, Parameters, Seed, State, Strength};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register an identity and print its seed, once
    Create {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        seed: NewSeed,
        /// SHA1, SHA256 or SHA512 [default: totp.algorithm]
        #[arg(long)]
        algorithm: Option<Algorithm>,
        /// Digits of a token, 6 to 8 [default: totp.digits]
        #[arg(long)]
        digits: Option<u8>,
        /// Seconds of a step, 1 to 3600 [default: totp.period]
        #[arg(long)]
        period: Option<u16>,
    },
    /// List identities, without their seeds
    List {
        /// Only those of this realm
        #[arg(long)]
        realm: Option<String>,
    },
    /// Show one identity, without its seed
    Show(Who),
    /// Give an identity another seed and print it, once
    Rotate {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        seed: NewSeed,
    },
    /// Refuse an identity until it is enabled again
    Disable(Who),
    /// Let a disabled identity authenticate again
    Enable(Who),
    /// Remove an identity
    Delete(Who),
}

#[derive(Debug, clap::Args)]
pub(super) struct Who {
    /// The name
    #[arg(long)]
    name: String,
    /// The realm
    #[arg(long)]
    realm: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct NewSeed {
    /// Take the seed (base32) from a file, `-` for standard input, instead of making one
    #[arg(long, value_name = "FILE")]
    seed_file: Option<PathBuf>,
}

impl NewSeed {
    fn take(&self) -> Result<Seed, CliError> {
        let Some(path) = &self.seed_file else {
            return Ok(Seed::generate()?);
        };
        Ok(Seed::from_base32(secret::file(path)?.trim())?)
    }
}

/// An identity as it is printed.
#[derive(Serialize)]
struct Row<'a> {
    id: i64,
    name: &'a str,
    realm: &'a str,
    state: &'static str,
    algorithm: &'static str,
    digits: u8,
    period: u16,
    /// `good`, `weak` (fewer than 128 bits) or `broken` (does not open).
    seed_strength: &'static str,
    created: u64,
    updated: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn new(identity: &'a Identity) -> Self {
        Self {
            id: identity.id.0,
            name: identity.principal.name(),
            realm: identity.principal.realm(),
            state: match identity.state {
                State::Enabled => "enabled",
                State::Disabled => "disabled",
            },
            algorithm: identity.parameters.algorithm().as_str(),
            digits: identity.parameters.digits(),
            period: identity.parameters.period(),
            seed_strength: match identity.totp.as_ref().map(|totp| totp.seed().strength()) {
                Some(Strength::Good) => "good",
                Some(Strength::Weak) => "weak",
                None => "broken",
            },
            created: identity.created.as_secs(),
            updated: identity.updated.as_secs(),
            seed: None,
        }
    }

    /// Control characters in names are escaped: a name cannot draw on the terminal.
    fn text(&self) -> String {
        let mut text = format!(
            "{:>6}  {}@{}  {}  {} {} digits {} s  seed {}",
            self.id,
            self.name.escape_debug(),
            self.realm.escape_debug(),
            self.state,
            self.algorithm,
            self.digits,
            self.period,
            self.seed_strength,
        );
        if let Some(seed) = self.seed {
            let _ = write!(text, "\n        seed, shown only now: {seed}");
        }
        text
    }
}

pub(super) fn run(command: Command, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    LocalStore::with(config, async |local| match command {
        Command::Create {
            who,
            seed,
            algorithm,
            digits,
            period,
        } => {
            let defaults = local.config.totp.parameters;
            let parameters = Parameters::new(
                algorithm.unwrap_or(defaults.algorithm()),
                digits.unwrap_or(defaults.digits()),
                period.unwrap_or(defaults.period()),
            )?;
            create(local, &who, seed.take()?, parameters, output).await
        }
        Command::List { realm } => list(local, realm.as_deref(), output).await,
        Command::Show(who) => {
            let identity = local.find(&who.name, &who.realm).await?;
            print(&identity, None, output);
            Ok(())
        }
        Command::Rotate { who, seed } => {
            let seed = seed.take()?;
            let change = Change {
                seed: Some(seed.clone()),
                ..Change::default()
            };
            let identity = update(local, &who, change).await?;
            print(&identity, Some(&seed), output);
            Ok(())
        }
        Command::Disable(who) => set_state(local, &who, State::Disabled, output).await,
        Command::Enable(who) => set_state(local, &who, State::Enabled, output).await,
        Command::Delete(who) => {
            let identity = local.find(&who.name, &who.realm).await?;
            if !local.store.delete(identity.id).await? {
                return Err(not_found(&who));
            }
            output.print(&serde_json::json!({ "deleted": identity.id.0 }), || {
                format!("deleted {:?}", identity.principal)
            });
            Ok(())
        }
    })
}

async fn create(
    local: &LocalStore,
    who: &Who,
    seed: Seed,
    parameters: Parameters,
    output: Output,
) -> Result<(), CliError> {
    let new = NewIdentity {
        principal: local.principal(&who.name, &who.realm)?,
        seed: seed.clone(),
        parameters,
    };
    let created = local.store.create(new, now()).await;
    let identity = created.map_err(|error| CliError::of_change(error, &who.name, &who.realm))?;
    print(&identity, Some(&seed), output);
    Ok(())
}

async fn list(local: &LocalStore, realm: Option<&str>, output: Output) -> Result<(), CliError> {
    let show = |identity: &Identity| {
        if realm.is_none_or(|realm| identity.principal.realm() == realm) {
            print(identity, None, output);
        }
        Ok(())
    };
    local.each(show).await
}

async fn set_state(
    local: &LocalStore,
    who: &Who,
    state: State,
    output: Output,
) -> Result<(), CliError> {
    let change = Change {
        state: Some(state),
        ..Change::default()
    };
    let identity = update(local, who, change).await?;
    print(&identity, None, output);
    Ok(())
}

async fn update(
    local: &LocalStore,
    who: &Who,
    change: Change,
) -> Result<std::sync::Arc<Identity>, CliError> {
    let identity = local.find(&who.name, &who.realm).await?;
    local
        .store
        .update(identity.id, change, now())
        .await
        .map_err(|error| CliError::of_change(error, &who.name, &who.realm))?
        .ok_or_else(|| not_found(who))
}

fn not_found(who: &Who) -> CliError {
    CliError::NotFound {
        name: who.name.clone(),
        realm: who.realm.clone(),
    }
}

fn print(identity: &Identity, seed: Option<&Seed>, output: Output) {
    let seed = seed.map(Seed::to_base32);
    let mut row = Row::new(identity);
    row.seed = seed.as_ref().map(|seed| seed.as_str());
    output.print(&row, || row.text());
}
