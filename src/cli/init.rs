use std::io::{self, IsTerminal};
use std::path::Path;

use serde::Serialize;
use zeroize::Zeroizing;

use super::admin;
use super::error::CliError;
use super::identity;
use super::local_store::{LocalStore, now};
use super::output::{Output, line, message};
use crate::audit::Kind;
use crate::auth::{IdentityId, NewIdentity, Seed, Selection, Terms};
use crate::store::Intent;

/// The number of rows of which one must be an identity.
const MANY: u32 = 100;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the identity
    #[arg(long, default_value = "admin")]
    name: String,
    /// Create only the database, if it is missing, and no identity; prints no seed that could get into a log
    #[arg(long, conflicts_with = "name")]
    database_only: bool,
}

/// The output for programs that set a system up: JSON, unless it goes to a terminal.
#[derive(Serialize)]
struct Made<'a> {
    name: &'a str,
    realm: &'a str,
    seed: &'a str,
}

pub(super) fn run(args: &Args, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    LocalStore::with(config, Intent::Create, async |local| {
        if args.database_only {
            return Ok(());
        }
        let realm = local.config.realms.admin();
        check_uninitialised(local, realm).await?;
        let seed = Seed::generate()?;
        let new = NewIdentity {
            principal: local.principal(&args.name, realm)?,
            seed: seed.clone(),
            parameters: local.config.totp.parameters,
            terms: Terms::default(),
        };
        let created = local.store.create(new, now()).await;
        let identity = created.map_err(|error| CliError::of_change(error, &args.name, realm))?;
        // Printed first, because the seed is valid even if the audit log fails.
        if io::stdout().is_terminal() && !output.is_json() {
            identity::print_new(local, &identity, &seed, output);
        } else {
            let made = Made {
                name: &args.name,
                realm,
                seed: &seed.to_base32(),
            };
            let text = serde_json::to_string(&made).unwrap_or_default();
            line(&Zeroizing::new(text));
        }
        if let Some(origin) = admin::origin(&local.config).filter(|_| !output.is_json()) {
            message(&format!(
                "Admin page: {origin}, as {} with the token of this seed",
                args.name
            ));
        }
        local
            .record(Kind::IdentityCreated, identity.id, &identity.principal)
            .await
    })
}

async fn check_uninitialised(local: &LocalStore, realm: &str) -> Result<(), CliError> {
    let selection = Selection {
        realm: Some(realm.into()),
        ..Selection::default()
    };
    let after = IdentityId(i64::MIN);
    // A row that is no identity is no administrator either.
    let rows = local.store.identities(&selection, after, MANY).await?;
    match rows.identities.first() {
        None => Ok(()),
        Some(first) => Err(CliError::Initialised {
            name: first.principal.name().to_owned(),
            realm: realm.to_owned(),
            id: first.id,
        }),
    }
}
