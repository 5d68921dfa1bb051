//! Runs the commands on a server.

use super::command::{Command, Create, Which};
use super::many;
use super::row::{Shown, print};
use crate::auth::{Seed, Terms};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::remote::{self, Changed, Server};
use crate::cli::rows::complete;
use crate::cli::who::Who;
use crate::doors::v1::types::{Identity, NewIdentity, NewParameters, Rotation};

pub(super) async fn run(server: &Server, command: Command, output: Output) -> Result<(), CliError> {
    match command {
        Command::Create(create) => match &create.from {
            Some(path) => many::create_there(server, path, create.resume.as_deref(), output).await,
            None => self::create(server, &create, output).await,
        },
        Command::Set { who, terms, .. } => {
            let changes = terms.changes();
            let change = Changed::Members(&changes);
            let identity = remote::change(server, of(&who), change).await?;
            print(&identity, Shown::Plain, output);
            Ok(())
        }
        Command::Unthrottle(one) => {
            let before = remote::find(server, one.who.name(), one.who.realm()).await?;
            let identity = act(server, &one.who, "unthrottle").await?;
            print(&identity, Shown::Forgiven(before.throttle), output);
            Ok(())
        }
        Command::List { which, .. } => {
            let query = which.query();
            let unreadable = remote::each(server, &query, |identity| {
                print(identity, Shown::Plain, output);
            });
            complete(unreadable.await?.into_iter(), output)
        }
        Command::Export { realm, .. } => {
            let which = Which {
                realm,
                ..Which::default()
            };
            let query = which.query();
            let unreadable = remote::each(server, &query, many::export);
            complete(unreadable.await?.into_iter(), output)
        }
        Command::Show(one) => {
            let identity = remote::find(server, one.who.name(), one.who.realm()).await?;
            print(&identity, Shown::Throttle, output);
            Ok(())
        }
        Command::Rotate {
            who,
            seed,
            grace,
            force,
        } => {
            let rotation = Rotation {
                grace: grace.map(|grace| grace.as_secs()),
                force,
                seed: text(seed.given(true)?),
            };
            let change = Changed::Action("rotate", Some(&rotation));
            let identity = remote::change(server, of(&who), change).await?;
            print(&identity, Shown::Plain, output);
            Ok(())
        }
        Command::Disable(one) => {
            let identity = act(server, &one.who, "disable").await?;
            print(&identity, Shown::Plain, output);
            Ok(())
        }
        Command::Enable(one) => {
            let identity = act(server, &one.who, "enable").await?;
            print(&identity, Shown::Plain, output);
            Ok(())
        }
        Command::Delete(one) => {
            let deleted = remote::delete(server, one.who.name(), one.who.realm()).await?;
            output.print(&serde_json::json!({ "deleted": deleted.id }), || {
                format!("deleted {:?}@{:?}", deleted.name, deleted.realm)
            });
            Ok(())
        }
    }
}

async fn create(server: &Server, create: &Create, output: Output) -> Result<(), CliError> {
    let terms = create.terms.of(Terms::default())?;
    let parameters = NewParameters {
        algorithm: create.algorithm,
        digits: create.digits,
        period: create.period,
    };
    let new = NewIdentity {
        name: create.name().to_owned(),
        realm: create.realm().to_owned(),
        not_before: terms.not_before.map(Into::into),
        expires: terms.expires.map(Into::into),
        comment: terms.comment.map(Into::into),
        parameters: Some(parameters),
        seed: text(create.seed.given(true)?),
    };
    print(&remote::create(server, &new).await?, Shown::Plain, output);
    Ok(())
}

/// Runs an action without options.
async fn act(server: &Server, who: &Who, action: &'static str) -> Result<Identity, CliError> {
    let change = Changed::<()>::Action(action, None);
    remote::change(server, of(who), change).await
}

fn of(who: &Who) -> (&str, &str) {
    (who.name(), who.realm())
}

fn text(seed: Option<Seed>) -> Option<String> {
    seed.map(|seed| seed.to_base32().as_str().to_owned())
}
