//! Every door, on Pingora: the transparent proxy, forward-auth, and the listeners that REST is on too.

pub mod api;
mod authorize;
mod endpoints;
pub mod explain;
mod ext_authz;
mod forward_auth;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod local;
mod metrics;
mod pace;
mod proxy;
mod request_log;
mod service;
pub(crate) mod snapshot;
mod unmatched;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use endpoints::Endpoints;
use forward_auth::ForwardAuth;
use local::Local;
use metrics::Gauges;
use proxy::Proxy;
use service::Service;
use snapshot::{Live, Shared, Snapshot};

use crate::auth::Authority;
use crate::config::Config;
use crate::http::IdentityHeaders;
use crate::metrics::Registry;
use crate::net::connection::Connections;
pub use crate::net::descriptors::{most as most_files, raise as raise_file_limit};
pub use crate::net::listeners::{Addresses, ListenError, Listeners, PREDECESSOR};
use crate::net::settings::{self, Listening};
use crate::net::speaker::{Hyper, Pingora};
use crate::net::{aside, descriptors};
#[doc(hidden)]
pub use crate::routing::route::lookup;
use crate::telemetry::Recorder;
use crate::upstream;
pub(crate) use crate::upstream::Resolver;

/// The doors, open.
pub struct Gateway {
    shared: Arc<Shared>,
    snapshot: Live,
    settings: settings::Live,
    connections: Arc<Connections>,
    shutdown: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

impl Gateway {
    /// Opens every door on sockets that listen already. Returns once they accept. Waits a few seconds at
    /// most for the names of peers.
    ///
    /// # Errors
    /// A socket or a peer's address cannot be used.
    pub async fn open(
        config: Config,
        listeners: Listeners,
        authority: &Arc<Authority>,
        rest: Router,
        recorder: Arc<Recorder>,
        mut registry: Registry,
    ) -> Result<Self, OpenError> {
        let identity_headers = IdentityHeaders::new(&config.credential_headers);
        let shared = Arc::new(Shared::new(Arc::clone(&recorder), &mut registry));
        let snapshot = Snapshot::new(&config, None, &shared).map_err(OpenError::Snapshot)?;
        snapshot.upstreams.watch().await;
        let settings: settings::Live = Arc::new(ArcSwap::new(Arc::clone(&snapshot.net)));
        let snapshot: Live = Arc::new(ArcSwap::from_pointee(snapshot));
        let rest = Local::new(rest, Arc::clone(&settings));
        let connections = Arc::new(Connections::new(
            Arc::clone(&settings),
            listeners.is_inherited(),
            Arc::clone(&recorder),
            shared.net.clone(),
        ));
        registry.collect(Gauges {
            connections: Arc::clone(&connections),
            authority: Arc::clone(authority),
            snapshot: Arc::clone(&snapshot),
        });
        let forward_auth = Arc::new(ForwardAuth::new(
            Arc::clone(authority),
            config.credential_headers.clone(),
            identity_headers.clone(),
            Arc::clone(&snapshot),
            Arc::clone(&recorder),
        ));
        let endpoints = Arc::new(Endpoints {
            forward_auth: Arc::clone(&forward_auth),
            rest,
            authority: Arc::clone(authority),
            connections: Arc::clone(&connections),
            metrics: registry,
        });
        let pingora = Arc::new(ServerConf {
            // Pingora 0.9.1 multiplies the size of the pool by its number of threads. Here each thread has a
            // pool of its own.
            threads: 1,
            upstream_keepalive_pool_size: config
                .server
                .fitted_idle(descriptors::limit())
                .div_ceil(config.server.threads),
            max_retries: upstream::MOST_TRIES,
            // Pingora 0.9.1 reads the roots of the system when its connector is made, and panics at one that it
            // cannot read. Each peer has its own roots instead. Goes when that is an error.
            ca_file: Some(upstream::NO_ROOTS.to_owned()),
            ..ServerConf::default()
        });
        let proxy = Proxy {
            authority: Arc::clone(authority),
            credential_headers: config.credential_headers,
            identity_headers,
            recorder: Arc::clone(&recorder),
            snapshot: Arc::clone(&snapshot),
            connections: Arc::clone(&connections),
            endpoints: config.gateway.serve_api.then(|| Arc::clone(&endpoints)),
        };
        let service = |listening| {
            Arc::new(Hyper(Arc::new(Service {
                endpoints: Arc::clone(&endpoints),
                recorder: Arc::clone(&recorder),
                listening,
            })))
        };
        let (shutdown, watch) = watch::channel(false);
        let mut accepting = JoinSet::new();
        accepting.spawn(Arc::clone(&connections).log_rejected(watch.clone()));
        accepting.spawn(Arc::clone(&connections).accept(
            listener(listeners.service)?,
            Listening::Service,
            service(Listening::Service),
            watch.clone(),
        ));
        if let Some(metrics) = listeners.metrics {
            accepting.spawn(Arc::clone(&connections).accept(
                listener(metrics)?,
                Listening::Metrics,
                service(Listening::Metrics),
                watch.clone(),
            ));
        }
        if let Some(gateway) = listeners.gateway {
            accepting.spawn(Arc::clone(&connections).accept(
                listener(gateway)?,
                Listening::Gateway,
                Arc::new(Pingora(Arc::new(http_proxy(&pingora, proxy)))),
                watch.clone(),
            ));
        }
        if let Some(grpc) = listeners.grpc {
            let mut watch = watch;
            let draining = async move { drop(watch.wait_for(|&draining| draining).await) };
            accepting.spawn(ext_authz::serve(
                forward_auth,
                Arc::clone(&connections),
                listener(grpc)?,
                draining,
            ));
        }
        Ok(Self {
            shared,
            snapshot,
            settings,
            connections,
            shutdown,
            accepting,
        })
    }

    /// Puts the routes, upstreams, trusted proxies, limits and timeouts of a configuration in force, for
    /// what begins from now on. Connections stay, and so does what is known of upstreams. Waits a few
    /// seconds at most for names of peers that are new. If it is given up before it returns, nothing has
    /// changed.
    ///
    /// # Errors
    /// A peer's address cannot be used; then nothing has changed.
    pub async fn reload(&self, config: &Arc<Config>) -> Result<(), OpenError> {
        let (config, before) = (Arc::clone(config), self.snapshot.load_full());
        let shared = Arc::clone(&self.shared);
        // Roots of the system are read.
        let snapshot = aside(move || Snapshot::new(&config, Some(&before), &shared)).await;
        let snapshot = snapshot.map_err(OpenError::Snapshot)?;
        snapshot.upstreams.watch().await;
        self.settings.store(Arc::clone(&snapshot.net));
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    /// Stops accepting, lets what runs finish for at most `grace` or until `hurry` resolves, and returns
    /// how many connections were cut. Whoever has connected by then is served.
    pub async fn close(self, end: End, grace: Duration, hurry: impl Future<Output = ()>) -> usize {
        let connections = Arc::clone(&self.connections);
        if end == End::Replaced {
            connections.hand_over();
        }
        tokio::select! {
            () = self.drain(grace) => {}
            () = hurry => {}
        }
        connections.finish(Duration::ZERO).await
    }

    async fn drain(self, grace: Duration) {
        // The receivers live in the accept loops; if those are gone there is nobody to tell.
        let _ = self.shutdown.send(true);
        let deadline = tokio::time::Instant::now() + grace;
        let _ = tokio::time::timeout(grace, self.accepting.join_all()).await;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        self.connections.finish(left).await;
    }
}

/// Why the doors are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody listens from now on.
    Final,
    /// Another process serves the same sockets.
    Replaced,
}

/// Why the doors do not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A socket cannot be handed to the event loop.
    #[error("a listening socket cannot be used")]
    Socket(#[source] io::Error),
    /// What was configured cannot be used.
    #[error("what was configured cannot be used")]
    Snapshot(#[source] io::Error),
}

fn listener(listener: std::net::TcpListener) -> Result<TcpListener, OpenError> {
    listener.set_nonblocking(true).map_err(OpenError::Socket)?;
    TcpListener::from_std(listener).map_err(OpenError::Socket)
}
