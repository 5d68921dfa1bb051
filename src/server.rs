//! Assembles the server: configuration → store → authority → doors.

mod store_metrics;
mod store_options;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use serde::Serialize;
use thiserror::Error;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Audit;
use crate::auth::{
    Authority, LocalAuthenticator, Node, NodeId, Seed, SeedError, Settings, Store, UnixTime,
};
use crate::config::{Config, ConfigError};
use crate::doors::api::{self, Api};
use crate::doors::health::Health;
use crate::doors::page::{self, Page};
use crate::doors::v1::{self, V1};
use crate::doors::{self, Addresses, End, Gateway, ListenError, Listeners};
use crate::files;
use crate::metrics::Registry;
use crate::net::loops::{LoopThreads, Loops};
use crate::store::{self, Intent};
use crate::telemetry::Recorder;
pub use store_options::store_options;

/// The interval at which failure counts and last uses are saved. If the process is killed, those
/// since the last save are lost.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// The maximum wait at shutdown for the last save, and for changes whose outcome is unknown.
const LAST: Duration = Duration::from_secs(5);

/// The mode of the ready file: not writable by others, who rely on its contents.
const READY_MODE: u32 = 0o640;

/// A running realmgate.
pub struct Server {
    gateway: Gateway,
    loops: Loops,
    threads: LoopThreads,
    store: Arc<dyn Store>,
    authenticator: Arc<LocalAuthenticator>,
    saving: AbortHandle,
    changes: TaskTracker,
    addresses: Addresses,
    config: Arc<ArcSwap<Config>>,
    closing: CancellationToken,
    /// This process, as the store records it.
    node: Node,
}

/// The outcome of a reload that somebody waits for.
#[derive(Debug, Default, Serialize)]
pub struct LastReload {
    /// The number of such reloads since the start.
    pub number: u64,
    /// Why it was rejected; `None` if the new configuration is in effect.
    pub error: Option<String>,
}

/// The handles that a server records with. Made once per process, or once per server in tests.
pub struct Instruments {
    /// All metrics; the server adds its own.
    pub registry: Registry,
    /// Records requests and decisions.
    pub recorder: Arc<Recorder>,
    /// Records changes.
    pub audit: Audit,
}

impl Instruments {
    /// Makes handles without access log, traces and audit log.
    pub fn without_logs() -> Self {
        let mut registry = Registry::new();
        Self {
            recorder: Recorder::without_logs(&mut registry),
            audit: Audit::default(),
            registry,
        }
    }
}

impl Server {
    /// Opens the store with `intent`, then the doors. Returns once they accept connections.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: Config,
        listeners: Listeners,
        intent: Intent,
        instruments: Instruments,
    ) -> Result<Self, StartError> {
        let Instruments {
            mut registry,
            recorder,
            audit,
        } = instruments;
        let addresses = listeners.addresses()?;
        let mut options = store_options(&config.store)?;
        options.cache.admin_realm = Some(config.realms.admin().into());
        let store = store::open(options.clone(), intent).await?;
        store_metrics::register(&store, &mut registry);
        let store: Arc<dyn Store> = store;
        let authenticator = Arc::new(authenticator(&config, &store).await?);
        let authority = Authority::new(Arc::clone(&authenticator) as _, config.realms.clone());
        let authority = Arc::new(authority);
        let saving =
            tokio::spawn(save(Arc::clone(&authenticator), Arc::clone(&recorder))).abort_handle();
        let changes = TaskTracker::new();
        let rest = api::rest(Api {
            authority: Arc::clone(&authority),
            recorder: Arc::clone(&recorder),
            audit: audit.clone(),
            identities: Arc::clone(&store) as _,
            changes: changes.clone(),
            credential_headers: config.credential_headers.clone(),
            reveal_seeds: config.compat.reveal_seeds,
            defaults: config.totp.parameters,
        });
        let running = Arc::new(ArcSwap::from_pointee(config.clone()));
        let started = UnixTime::from(SystemTime::now());
        let node = Node {
            id: NodeId::generate().map_err(StartError::Random)?,
            name: config.server.node.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            started,
            config: config.digest().into(),
            loaded: started,
        };
        let closing = CancellationToken::new();
        let administration = Arc::new(V1 {
            authority: Arc::clone(&authority),
            authenticator: Arc::clone(&authenticator),
            store: Arc::clone(&store),
            options,
            recorder: Arc::clone(&recorder),
            audit,
            changes: changes.clone(),
            config: Arc::clone(&running),
            started,
            closing: closing.clone(),
        });
        let v1 = v1::router(Arc::clone(&administration));
        let health = Arc::new(Health::default());
        let page = Page::new(
            administration,
            (v1.clone(), Arc::clone(&health)),
            &config.admin,
            addresses.admin,
        );
        let (loops, threads) = Loops::start(config.server.threads).map_err(StartError::Loops)?;
        let gateway = Gateway::open(
            config.clone(),
            listeners,
            &loops,
            &authority,
            (rest, v1, page::router(page), &health),
            recorder,
            registry,
        )
        .await?;
        store.serve_as(node.clone());
        Ok(Self {
            gateway,
            loops,
            threads,
            store,
            authenticator,
            saving,
            changes,
            closing,
            addresses,
            config: running,
            node,
        })
    }

    /// Returns the addresses of the listeners.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Returns the event loops that serve connections.
    pub fn loops(&self) -> &Loops {
        &self.loops
    }

    /// Returns the store, for use in the same process.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Writes the address of each listener and the process id as JSON:
    /// `{"gateway":"127.0.0.1:1","metrics":"127.0.0.1:2","service":"127.0.0.1:3","pid":4}`, and
    /// the last reload if there was one.
    ///
    /// The file is replaced atomically, so that a reader never sees part of it.
    ///
    /// # Errors
    /// The file cannot be written, or the path is a symbolic link.
    pub fn write_ready_file(&self, path: &Path, reload: Option<&LastReload>) -> io::Result<()> {
        #[derive(Serialize)]
        struct Ready<'a> {
            #[serde(flatten)]
            listeners: BTreeMap<&'static str, SocketAddr>,
            pid: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            reload: Option<&'a LastReload>,
        }
        let ready = serde_json::to_vec(&Ready {
            listeners: self.addresses.named().collect(),
            pid: std::process::id(),
            reload,
        })?;
        files::replace(path, READY_MODE, &ready)
    }

    /// Applies a new configuration, completely or not at all. If the future is dropped before it
    /// completes, the old one stays active.
    ///
    /// # Errors
    /// [`ReloadError`]; the old configuration then stays active.
    pub async fn reload(&mut self, config: Config) -> Result<(), ReloadError> {
        if let Some(section) = self.config.load().needs_restart(&config) {
            return Err(ReloadError::Restart(section));
        }
        let config = Arc::new(config);
        self.gateway.reload(&config).await?;
        self.node.config = config.digest().into();
        self.node.loaded = SystemTime::now().into();
        self.store.serve_as(self.node.clone());
        self.config.store(config);
        Ok(())
    }

    /// Returns the configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Returns the digest of the configuration in force.
    pub fn digest(&self) -> &str {
        &self.node.config
    }

    /// Returns the configured grace period.
    pub fn grace(&self) -> Duration {
        self.config.load().shutdown.grace
    }

    /// Stops accepting, waits for requests in progress until the grace period ends or `abort`
    /// resolves, and returns the number of connections that were closed with requests in progress.
    pub async fn close(self, end: End, abort: impl Future<Output = ()>) -> usize {
        let grace = self.grace();
        // Those who wait for changes are answered.
        self.closing.cancel();
        // A successor that starts meanwhile reads these counts.
        save_last(&self.authenticator).await;
        let cut = self.gateway.close(end, grace, abort).await;
        self.saving.abort();
        // Changes whose callers have given up are still recorded in the audit log.
        self.changes.close();
        if timeout(LAST, self.changes.wait()).await.is_err() {
            let changes = self.changes.len();
            tracing::error!(
                changes,
                "stopped before the outcome of changes was known: they may have been made and are not in the audit log"
            );
        }
        save_last(&self.authenticator).await;
        self.store.checkpoint().await;
        self.threads.end().await;
        cut
    }
}

/// Makes an authenticator that checks and throttles tokens as configured.
///
/// # Errors
/// [`StartError`]: the failure counts cannot be read, or there are no random bytes.
pub(crate) async fn authenticator(
    config: &Config,
    store: &Arc<dyn Store>,
) -> Result<LocalAuthenticator, StartError> {
    let settings = Settings {
        window: config.totp.window,
        parameters: config.totp.parameters,
        throttle: config.throttle,
        one_time_realms: config.one_time_realms.clone(),
    };
    let decoy = Seed::generate().map_err(StartError::Random)?;
    let counts = store.counts(0).await.map_err(store::OpenError::Store)?;
    let authenticator = LocalAuthenticator::new(
        Arc::clone(store) as _,
        Arc::clone(store) as _,
        settings,
        &decoy,
        &counts,
    );
    Ok(authenticator.with_sessions(Arc::clone(store) as _))
}

/// Saves failure counts and last uses once per interval.
async fn save(authenticator: Arc<LocalAuthenticator>, recorder: Arc<Recorder>) {
    let mut every = tokio::time::interval(SAVE_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        recorder.log_dropped_lines();
        save_once(&authenticator).await;
    }
}

/// Saves failure counts and last uses at shutdown, unless the disk is too slow.
async fn save_last(authenticator: &LocalAuthenticator) {
    if timeout(LAST, save_once(authenticator)).await.is_err() {
        tracing::error!("cannot save failure counts and last uses in time");
    }
}

async fn save_once(authenticator: &LocalAuthenticator) {
    let now = UnixTime::from(SystemTime::now());
    if let Err(error) = authenticator.save(now).await
        && !error.is_lost()
    {
        tracing::error!(%error, "cannot save failure counts and last uses");
    }
}

/// Why the server cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A setting of the store is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The doors cannot be opened.
    #[error(transparent)]
    Gateway(#[from] doors::OpenError),
    /// The event loops cannot be started.
    #[error("cannot start the event loops")]
    Loops(#[source] io::Error),
    /// No random bytes are available.
    #[error(transparent)]
    Random(SeedError),
}

/// Why a configuration cannot be applied.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// It changes settings that require a restart.
    #[error("{0} changed; restart required")]
    Restart(&'static str),
    /// Its rules are invalid.
    #[error(transparent)]
    Gateway(#[from] doors::OpenError),
}

#[cfg(test)]
mod tests;
