use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::CliError;
use super::setup::{load, runtime};
use crate::audit::{self, Actor, AuditFigures, Event, Kind, LINE};
use crate::auth::{
    Authority, Identity, IdentityId, Principal, Seed, Selection, Settings, Store, UnixTime,
};
use crate::config::Config;
use crate::store::{self, Intent};

/// How many identities are read at a time.
const PAGE: u32 = 1000;

/// How long a command waits for the line about what it has done. Nobody else would write it.
pub(super) const LOGGED: Duration = Duration::from_secs(20);

/// The configured store, opened for one command.
pub(super) struct LocalStore {
    pub(super) config: Config,
    pub(super) store: Arc<dyn Store>,
}

impl LocalStore {
    /// Opens the store, runs `work` on it and returns what came of it. Only what changes something needs the
    /// audit log, and begins only where it could be written into it.
    pub(super) fn with<T>(
        config: Option<&Path>,
        intent: Intent,
        work: impl AsyncFnOnce(&Self) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let config = load(config)?;
        crate::telemetry::init(&config.log);
        store::expect(&config.store, intent)?;
        if intent != Intent::Read {
            // Before anything is changed that could not be written down.
            audit::start(&config.audit, AuditFigures::default())?;
        }
        runtime(1)?.block_on(async {
            if intent != Intent::Read {
                // A full disk has room for a change then.
                audit::ready(LINE).await.map_err(CliError::Unloggable)?;
            }
            let store = store::open(config.store.clone(), intent).await?;
            work(&Self { config, store }).await
        })
    }

    pub(super) fn principal(&self, name: &str, realm: &str) -> Result<Principal, CliError> {
        let limit = self.config.credential_headers.name_chars;
        Ok(Principal::new(name, realm, limit)?)
    }

    /// Makes sure that many lines can be written into the audit log.
    pub(super) async fn ready(&self, bytes: u64) -> Result<(), CliError> {
        audit::ready(bytes).await.map_err(CliError::Unloggable)
    }

    /// Writes down what this user has done to an identity.
    pub(super) async fn record(
        &self,
        kind: Kind,
        id: IdentityId,
        principal: &Principal,
    ) -> Result<(), CliError> {
        self.record_all(&[Event {
            subject: Some(principal.as_ref()),
            id: Some(id),
            actor: Some(Actor::user()),
            ..Event::new(kind)
        }])
        .await
    }

    pub(super) async fn record_all(&self, events: &[Event<'_>]) -> Result<(), CliError> {
        let recorded = audit::record(events, LOGGED).await;
        recorded.map_err(CliError::Unaudited)
    }

    /// Visits the selected identities in the order of their numbers until `visit` fails.
    pub(super) async fn each(
        &self,
        selection: &Selection,
        mut visit: impl FnMut(&Identity) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut after = IdentityId(i64::MIN);
        loop {
            let page = self.store.identities(selection, after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            page.iter().try_for_each(|identity| visit(identity))?;
        }
    }

    pub(super) async fn find(&self, name: &str, realm: &str) -> Result<Arc<Identity>, CliError> {
        let principal = self.principal(name, realm)?;
        self.store
            .identity(principal.as_ref())
            .await?
            .ok_or_else(|| CliError::NotFound {
                name: name.to_owned(),
                realm: realm.to_owned(),
            })
    }
}

/// Makes an authority that decides as one that serves does, for what it says of its decisions.
pub(super) async fn authority(
    config: &Config,
    store: &Arc<dyn Store>,
) -> Result<Authority, CliError> {
    let counts = store.counts(0).await?;
    let settings = Settings {
        realms: config.realms.clone(),
        window: config.totp.window,
        parameters: config.totp.parameters,
        throttle: config.throttle,
        once: config.once.clone(),
    };
    let decoy = Seed::generate()?;
    Ok(Authority::new(Arc::clone(store), settings, &decoy, &counts))
}

pub(super) fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}
