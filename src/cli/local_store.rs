use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::error::CliError;
use super::output::Progress;
use super::setup::{load, runtime};
use crate::audit::{Actor, Audit, AuditMetrics, Event, Kind, LINE};
use crate::auth::{BadRow, Identity, IdentityId, Principal, Selection, Store, UnixTime};
use crate::config::Config;
use crate::server::store_options;
use crate::store::{self, Intent};

/// The number of identities per read.
const PAGE: u32 = 1000;

/// How long a command waits for its audit line. No other process would write it.
pub(super) const LOGGED: Duration = Duration::from_secs(20);

/// How long a transaction of bulk work waits for others at least.
const MANY: Duration = Duration::from_secs(30);

/// The duration from which on a wait is shown.
const SHOWN: Duration = Duration::from_secs(1);

/// The configured store, opened for one command.
pub(super) struct LocalStore {
    pub(super) config: Config,
    pub(super) store: Arc<dyn Store>,
    audit: Audit,
}

impl LocalStore {
    /// Opens the store and runs `work` on it. Only commands that change the store use the audit
    /// log; they fail before the change if it cannot be written.
    pub(super) fn with<T>(
        config: Option<&Path>,
        intent: Intent,
        work: impl AsyncFnOnce(&Self) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        Self::waiting(config, intent, Duration::ZERO, work)
    }

    /// The same for bulk work, which waits longer for others than a request would: it is better late
    /// than half done.
    pub(super) fn for_many<T>(
        config: Option<&Path>,
        intent: Intent,
        work: impl AsyncFnOnce(&Self) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        Self::waiting(config, intent, MANY, work)
    }

    fn waiting<T>(
        config: Option<&Path>,
        intent: Intent,
        at_least: Duration,
        work: impl AsyncFnOnce(&Self) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let config = load(config)?;
        crate::telemetry::init(&config.log);
        let mut options = store_options(&config.store)?;
        options.timeout = options.timeout.max(at_least);
        store::expect(&options, intent)?;
        let audit = match intent {
            Intent::Read => Audit::default(),
            // Check this before the change.
            _ => Audit::open(&config.audit, AuditMetrics::default())?,
        };
        runtime()?.block_on(async {
            // Reserve space in the audit log before the change, so that a full disk does not lose
            // its line.
            audit.ready(LINE).await.map_err(CliError::Unloggable)?;
            let store = store::open(options, intent).await?;
            let local = Self {
                config,
                store,
                audit,
            };
            work(&local).await
        })
    }

    pub(super) fn principal(&self, name: &str, realm: &str) -> Result<Principal, CliError> {
        let limit = self.config.credential_headers.name_chars;
        Ok(Principal::new(name, realm, limit)?)
    }

    /// Reserves space in the audit log for this many bytes.
    pub(super) async fn ready(&self, bytes: u64) -> Result<(), CliError> {
        self.audit.ready(bytes).await.map_err(CliError::Unloggable)
    }

    /// Writes a change of an identity by this user to the audit log.
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
        let recorded = self.audit.record(events, LOGGED).await;
        recorded.map_err(CliError::Unaudited)
    }

    /// Calls `visit` for each selected identity in the order of their numbers, until it fails. Returns
    /// the rows that are no identities.
    pub(super) async fn each(
        &self,
        selection: &Selection,
        mut visit: impl FnMut(&Identity) -> Result<(), CliError>,
    ) -> Result<Vec<BadRow>, CliError> {
        let mut after = IdentityId(i64::MIN);
        let mut bad = Vec::new();
        loop {
            let rows = self.store.identities(selection, after, PAGE).await?;
            let mut identities = rows.identities.iter();
            identities.try_for_each(|identity| visit(identity))?;
            bad.extend(rows.bad);
            match rows.next {
                Some(next) => after = next,
                None => return Ok(bad),
            }
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

/// Runs a transaction of bulk work, and shows it if others hold it up.
pub(super) async fn patiently<T>(progress: &mut Progress, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if let Ok(done) = timeout(SHOWN, &mut work).await {
        return done;
    }
    progress.show_now(|| "waiting for the database".to_owned());
    work.await
}

pub(super) fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}
