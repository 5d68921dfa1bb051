//! `realmgate admin link`: logs in to the admin page without a token.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use zeroize::Zeroizing;

use super::error::CliError;
use super::local_store::{LocalStore, now};
use super::output::Output;
use super::ready_file::ReadyFile;
use super::who::Who;
use crate::audit::Kind;
use crate::auth::{Capability, Identity, Session, SessionId, SessionKind, SessionSecret, Store};
use crate::config::Config;
use crate::store::Intent;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print a link that logs in an administrator once, within a minute
    ///
    /// For administrators who have access to the database and its key, but no token at hand.
    Link {
        #[command(flatten)]
        who: Who,
        /// Ready file of the server (`serve --ready-file`), which names its listeners. Default: the configuration names them
        #[arg(long, value_name = "PATH")]
        ready_file: Option<PathBuf>,
    },
}

#[derive(Serialize)]
struct Made<'a> {
    link: &'a str,
    seconds: u64,
}

pub(super) fn run(
    command: &Command,
    config: Option<&Path>,
    output: Output,
) -> Result<(), CliError> {
    let Command::Link { who, ready_file } = command;
    LocalStore::with(config, Intent::Change, async |local| {
        let own = match ready_file {
            Some(path) => Some(ReadyFile::read(path)?.admin.ok_or(CliError::NoAdminPage)?),
            None => None,
        };
        let origin = origin_at(&local.config, own).ok_or(CliError::NoAdminPage)?;
        if origin.ends_with(":0") {
            return Err(CliError::AdminPort);
        }
        let (name, realm) = (who.name(), who.realm());
        if !local.config.realms.grant(realm, Capability::Update) {
            return Err(CliError::NoAdministrator {
                realm: realm.to_owned(),
                admin: local.config.realms.admin().to_owned(),
            });
        }
        let identity = local.find(name, realm).await?;
        let made = make(&*local.store, &identity, &origin).await?;
        let (link, id) = made.ok_or(CliError::CannotLogIn)?;
        // Printed last: without its line in the audit log, the link must not work.
        let recorded = local
            .record(Kind::LinkCreated, identity.id, &identity.principal)
            .await;
        if let Err(error) = recorded {
            local.store.end_session(id).await?;
            return Err(error);
        }
        let (_, lasts) = SessionKind::Link.lasts();
        let seconds = lasts.as_secs();
        let made = Made {
            link: &link,
            seconds,
        };
        output.print(&made, || (*link).clone());
        Ok(())
    })
}

/// Makes a link for an identity. Returns it with its id; `None` if it is disabled, or has just changed.
pub(super) async fn make(
    store: &dyn Store,
    identity: &Identity,
    origin: &str,
) -> Result<Option<(Zeroizing<String>, SessionId)>, CliError> {
    let secret = SessionSecret::generate()?;
    let now = now();
    let session = Session {
        id: secret.id(),
        kind: SessionKind::Link,
        identity: identity.id,
        principal: identity.principal.clone(),
        made: now,
        seen: now,
        source: None,
    };
    let (id, version) = (session.id, identity.history.version);
    let is_made = store.begin_session(session, version).await?;
    let link = Zeroizing::new(format!("{origin}/link?secret={}", &**secret.text()));
    Ok(is_made.then_some((link, id)))
}

/// Returns where browsers reach the admin page; `None` if it is off, or has no port of its own.
pub(super) fn origin(config: &Config) -> Option<String> {
    origin_at(config, None).filter(|it| !it.ends_with(":0"))
}

/// Returns where browsers reach the admin page if its listener is at `own`, by default at the
/// configured address; `None` if it is off.
fn origin_at(config: &Config, own: Option<SocketAddr>) -> Option<String> {
    let admin = &config.admin;
    let listen = own.or(admin.listen)?;
    let scheme = if admin.transport.tls { "https" } else { "http" };
    let own = admin.origin.clone();
    Some(own.unwrap_or_else(|| format!("{scheme}://{listen}")))
}
