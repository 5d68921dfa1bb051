use std::path::Path;

use super::error::CliError;
use super::local_store::{LocalStore, now};
use super::output::{Output, line};
use crate::auth::{Identity, NewIdentity, Seed, Terms};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name of the identity
    #[arg(long, default_value = "admin")]
    name: String,
}

pub(super) fn run(args: &Args, config: Option<&Path>, _: Output) -> Result<(), CliError> {
    LocalStore::with(config, async |local| {
        let realm = local.config.realms.admin();
        refuse_twice(local, realm).await?;
        let seed = Seed::generate()?;
        let new = NewIdentity {
            principal: local.principal(&args.name, realm)?,
            seed: seed.clone(),
            parameters: local.config.totp.parameters,
            terms: Terms::default(),
        };
        local
            .store
            .create(new, now())
            .await
            .map_err(|error| CliError::of_change(error, &args.name, realm))?;
        let value = serde_json::json!({
            "name": args.name,
            "realm": realm,
            "seed": seed.to_base32().as_str(),
        });
        line(&value.to_string());
        Ok(())
    })
}

async fn refuse_twice(local: &LocalStore, realm: &str) -> Result<(), CliError> {
    let refuse = |first: &Identity| {
        if first.principal.realm() != realm {
            return Ok(());
        }
        Err(CliError::Initialised {
            name: first.principal.name().to_owned(),
            realm: realm.to_owned(),
            id: first.id,
        })
    };
    local.each(refuse).await
}
