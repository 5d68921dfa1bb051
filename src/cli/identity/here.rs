//! Runs the commands on the local database.

use std::path::Path;

use super::command::{Command, Create};
use super::many;
use super::new::{self, shown};
use super::row::{Shown, print};
use crate::audit::{Actor, Changes, Event, Kind};
use crate::auth::{
    Change, Identity, NewIdentity, Parameters, Seed, Selection, State, StoreError, Terms,
};
use crate::cli::error::CliError;
use crate::cli::local_store::{LocalStore, now};
use crate::cli::output::Output;
use crate::cli::rows::complete;
use crate::cli::who::Who;
use crate::clock;
use crate::doors::v1::{show, types};
use crate::server::authenticator;
use crate::store::Intent;

/// The number of identities per read.
const PAGE: u32 = 1000;

pub(super) fn run(command: Command, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    let intent = match command {
        Command::List { .. } | Command::Export { .. } | Command::Show(_) => Intent::Read,
        _ => Intent::Change,
    };
    let is_many = matches!(&command, Command::Create(create) if create.from.is_some());
    let work = async |local: &LocalStore| run_on(local, command, output).await;
    match is_many {
        true => LocalStore::for_many(config, intent, work),
        false => LocalStore::with(config, intent, work),
    }
}

async fn run_on(local: &LocalStore, command: Command, output: Output) -> Result<(), CliError> {
    match command {
        Command::Create(create) => match &create.from {
            Some(path) => many::create_here(local, path, output).await,
            None => self::create(local, &create, output).await,
        },
        Command::Set { who, terms, .. } => {
            let identity = local.find(who.name(), who.realm()).await?;
            let change = Change {
                terms: Some(terms.of(identity.terms().clone())?),
                ..Change::default()
            };
            let kind = Kind::IdentityChanged;
            update(local, &who, kind, change, |identity| {
                print(&shown(identity), Shown::Plain, output);
            })
            .await
        }
        Command::Unthrottle(one) => {
            let change = Change {
                unthrottle: true,
                ..Change::default()
            };
            let identity = local.find(one.who.name(), one.who.realm()).await?;
            let authenticator = authenticator(&local.config, &local.store).await?;
            let forgiven = authenticator.failures(&identity, now()).into();
            let kind = Kind::IdentityUnthrottled;
            update(local, &one.who, kind, change, |identity| {
                print(&shown(identity), Shown::Forgiven(forgiven), output);
            })
            .await
        }
        Command::List { which, .. } => {
            let mut listing = which.listing(PAGE, now());
            let mut bad = Vec::new();
            loop {
                let page = local.store.list(&listing).await?;
                for identity in &page.identities {
                    print(&shown(identity), Shown::Plain, output);
                }
                bad.extend(page.bad);
                listing.after = page.next;
                if listing.after.is_none() {
                    return complete(bad.iter().map(Into::into), output);
                }
            }
        }
        Command::Export { realm, .. } => each(local, realm.as_deref(), many::export, output).await,
        Command::Show(one) => {
            let identity = local.find(one.who.name(), one.who.realm()).await?;
            let authenticator = authenticator(&local.config, &local.store).await?;
            let failures = authenticator.failures(&identity, now());
            print(&show(&identity, failures, now()), Shown::Throttle, output);
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
            let seed = seed.given(false)?.map_or_else(Seed::generate, Ok)?;
            let change = Change {
                seed: Some(seed.clone()),
                // Failures against the old seed reveal nothing about the new one.
                unthrottle: true,
                grace: grace.map(|grace| clock::after(*grace).into()),
                ..Change::default()
            };
            let kind = Kind::IdentityRotated;
            update(local, &who, kind, change, |identity| {
                new::print(local, identity, &seed, output);
            })
            .await
        }
        Command::Disable(one) => set_state(local, &one.who, State::Disabled, output).await,
        Command::Enable(one) => set_state(local, &one.who, State::Enabled, output).await,
        Command::Delete(one) => {
            let who = &one.who;
            let id = match local.find(who.name(), who.realm()).await {
                Ok(identity) => identity.id,
                Err(CliError::Store(StoreError::Row(row))) => row.id,
                Err(error) => return Err(error),
            };
            let deleted = local.store.delete(id, None).await;
            let deleted =
                deleted.map_err(|error| CliError::of_change(error, who.name(), who.realm()))?;
            let deleted = deleted.ok_or_else(|| not_found(who))?.principal;
            let deleted = deleted.map_or_else(|| local.principal(who.name(), who.realm()), Ok)?;
            output.print(&serde_json::json!({ "deleted": id.0 }), || {
                format!("deleted {deleted:?}")
            });
            local.record(Kind::IdentityDeleted, id, &deleted).await
        }
    }
}

async fn create(local: &LocalStore, create: &Create, output: Output) -> Result<(), CliError> {
    let defaults = local.config.totp.parameters;
    let parameters = Parameters::new(
        create.algorithm.unwrap_or(defaults.algorithm()),
        create.digits.unwrap_or(defaults.digits()),
        create.period.unwrap_or(defaults.period()),
    )?;
    let (name, realm) = (create.name(), create.realm());
    let principal = local.principal(name, realm)?;
    let seed = create.seed.given(false)?;
    let seed = seed.map_or_else(Seed::generate, Ok)?;
    let new = NewIdentity {
        principal,
        seed: seed.clone(),
        parameters,
        terms: create.terms.of(Terms::default())?,
    };
    let created = local.store.create(new, now()).await;
    let identity = created.map_err(|error| CliError::of_change(error, name, realm))?;
    // Printed first, because the seed is valid even if the audit log fails.
    new::print(local, &identity, &seed, output);
    local
        .record(Kind::IdentityCreated, identity.id, &identity.principal)
        .await
}

/// Calls `visit` for each identity.
async fn each(
    local: &LocalStore,
    realm: Option<&str>,
    mut visit: impl FnMut(&types::Identity),
    output: Output,
) -> Result<(), CliError> {
    let selection = Selection {
        realm: realm.map(Into::into),
        ..Selection::default()
    };
    let bad = local.each(&selection, |identity| {
        visit(&shown(identity));
        Ok(())
    });
    complete(bad.await?.iter().map(Into::into), output)
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
    update(local, who, kind, change, |identity| {
        print(&shown(identity), Shown::Plain, output);
    })
    .await
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
    let event = Event {
        subject: Some(changed.identity.principal.as_ref()),
        id: Some(identity.id),
        changes: Changes::of(identity.terms(), changed.identity.terms()),
        actor: Some(Actor::user()),
        ..Event::new(kind)
    };
    local.record_all(&[event]).await
}

fn not_found(who: &Who) -> CliError {
    CliError::NotFound {
        name: who.name().to_owned(),
        realm: who.realm().to_owned(),
    }
}
