//! The doors: the transparent proxy, forward-auth, and the listeners that also serve REST.

pub mod api;
mod authorize;
mod endpoints;
pub mod explain;
mod ext_authz;
mod forward_auth;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod head;
pub mod health;
mod local;
mod metrics;
mod pace;
pub mod page;
mod proxy;
mod readiness;
mod request_log;
mod service;
pub(crate) mod snapshot;
mod unmatched;
pub mod v1;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use endpoints::Endpoints;
use forward_auth::ForwardAuth;
use health::Health;
use local::Local;
pub use local::Rest;
use metrics::Gauges;
use proxy::{Adapter, Own, Proxy};
use readiness::Readiness;
use service::Service;
use snapshot::{Live, Shared, Snapshot};

use crate::auth::Authority;
use crate::config::Config;
use crate::http::IdentityHeaders;
use crate::metrics::Registry;
use crate::net::connection::Connections;
pub use crate::net::descriptors::{most as most_files, raise as raise_file_limit};
use crate::net::incoming::Incoming;
pub use crate::net::listeners::{Addresses, ListenError, Listeners, PREDECESSOR};
use crate::net::loops::{Loops, PerLoop};
use crate::net::metrics::LoopGauges;
use crate::net::serve::{Hyper, Serve};
use crate::net::settings::{self, Listening};
use crate::net::{aside, descriptors};
#[doc(hidden)]
pub use crate::routing::route::lookup;
use crate::telemetry::Recorder;
use crate::upstream;
pub(crate) use crate::upstream::Resolver;

/// The open doors.
pub struct Gateway {
    shared: Arc<Shared>,
    snapshot: Live,
    settings: settings::Live,
    connections: Arc<Connections>,
    /// Those that serve, and the one that this runs on.
    loops: [Loops; 2],
    accepting: JoinSet<()>,
}

impl Gateway {
    /// Opens the doors on listening sockets, and returns once they accept. Waits a few seconds at
    /// most for the names of peers to resolve.
    ///
    /// # Errors
    /// A socket or a peer's address cannot be used.
    pub async fn open(
        config: Config,
        listeners: Listeners,
        loops: &Loops,
        authority: &Arc<Authority>,
        (rest, v1, admin, health): (Rest, Router, Router, &Health),
        recorder: Arc<Recorder>,
        mut registry: Registry,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::new(Arc::clone(&recorder), &mut registry));
        let snapshot = Snapshot::new(&config, None, &shared).map_err(OpenError::Snapshot)?;
        snapshot.upstreams.watch().await;
        let settings: settings::Live = Arc::new(ArcSwap::new(Arc::clone(&snapshot.net)));
        let snapshot: Live = Arc::new(ArcSwap::from_pointee(snapshot));
        health.open(Arc::clone(&snapshot));
        let rest = Local::rest(rest, Arc::clone(&settings));
        let v1 = Local::new(v1, Arc::clone(&settings));
        let admin = Local::new(admin, Arc::clone(&settings));
        let connections = Arc::new(Connections::new(
            Arc::clone(&settings),
            listeners.is_inherited(),
            Arc::clone(&recorder),
            shared.net.clone(),
        ));
        registry.collect(LoopGauges(loops.clone()));
        registry.collect(Gauges {
            connections: Arc::clone(&connections),
            authority: Arc::clone(authority),
            snapshot: Arc::clone(&snapshot),
        });
        let forward_auth = Arc::new(ForwardAuth::new(
            Arc::clone(authority),
            config.credential_headers.clone(),
            IdentityHeaders::new(&config.credential_headers),
            Arc::clone(&snapshot),
            Arc::clone(&recorder),
        ));
        let readiness = Arc::new(Readiness {
            authority: Arc::clone(authority),
            connections: Arc::clone(&connections),
        });
        let endpoints = Arc::new(Endpoints {
            forward_auth: Arc::clone(&forward_auth),
            rest,
            v1,
            admin,
            readiness: Arc::clone(&readiness),
            metrics: registry,
        });
        let served = |listening| {
            Arc::new(Service {
                endpoints: Arc::clone(&endpoints),
                recorder: Arc::clone(&recorder),
                listening,
                health_path: config.gateway.health_path.as_deref().map(Into::into),
            })
        };
        let service = |listening| Arc::new(Hyper(served(listening)));
        let background = Loops::current();
        let mut accepting = Accepting {
            tasks: JoinSet::new(),
            connections: Arc::clone(&connections),
        };
        let draining = background.accepting().draining();
        accepting
            .tasks
            .spawn(Arc::clone(&connections).log_rejected(draining));
        let on_service = service(Listening::Service);
        let apps = loops.each(|_| Arc::clone(&on_service));
        accepting.http(listeners.service, Listening::Service, loops, apps)?;
        if let Some(metrics) = listeners.metrics {
            let apps = background.each(|_| service(Listening::Metrics));
            accepting.http(metrics, Listening::Metrics, &background, apps)?;
        }
        if let Some(admin) = listeners.admin {
            let on_admin = service(Listening::Admin);
            let apps = loops.each(|_| Arc::clone(&on_admin));
            accepting.http(admin, Listening::Admin, loops, apps)?;
        }
        if let Some(gateway) = listeners.gateway {
            let own = Own {
                service: served(Listening::Gateway),
                serves_api: config.gateway.serve_api,
            };
            let idle = config.server.fitted_idle(descriptors::limit());
            let mut pools = pools(idle, config.server.threads);
            let apps = loops.each(|_| {
                let proxy = Proxy {
                    authority: Arc::clone(authority),
                    credential_headers: config.credential_headers.clone(),
                    recorder: Arc::clone(&recorder),
                    snapshot: Arc::clone(&snapshot),
                };
                let pool = pools.next().unwrap_or_default();
                let proxy = http_proxy(&Arc::new(pingora(pool)), proxy);
                let adapter = Adapter::new(proxy, own.clone(), Arc::clone(&recorder));
                Arc::new(Hyper(Arc::new(adapter)))
            });
            accepting.http(gateway, Listening::Gateway, loops, apps)?;
        }
        if let Some(grpc) = listeners.grpc {
            let incoming = Incoming::new(grpc, loops).map_err(OpenError::Socket)?;
            let apps = loops.each(|event_loop| {
                let (sender, receiver) = mpsc::unbounded_channel();
                let served = ext_authz::serve(
                    Arc::clone(&forward_auth),
                    Arc::clone(&readiness),
                    Arc::clone(&connections),
                    receiver,
                );
                accepting.tasks.spawn_on(served, event_loop.handle());
                sender
            });
            let draining = loops.accepting().draining();
            let accepted = connections
                .clone()
                .accept_front_proxies(incoming, apps, draining);
            accepting
                .tasks
                .spawn_on(accepted, loops.accepting().handle());
        }
        Ok(Self {
            shared,
            snapshot,
            settings,
            connections,
            loops: [loops.clone(), background],
            accepting: accepting.tasks,
        })
    }

    /// Applies the routes, upstreams, trusted proxies, limits and timeouts of a configuration to
    /// new requests. Connections stay open, and upstreams keep their state. Waits a few seconds at
    /// most for the names of new peers to resolve. If the future is dropped before it completes,
    /// nothing has changed.
    ///
    /// # Errors
    /// A peer's address cannot be used. Nothing has changed then.
    pub async fn reload(&self, config: &Arc<Config>) -> Result<(), OpenError> {
        let (config, before) = (Arc::clone(config), self.snapshot.load_full());
        let shared = Arc::clone(&self.shared);
        // Reads the system's CAs.
        let snapshot = aside(move || Snapshot::new(&config, Some(&before), &shared)).await;
        let snapshot = snapshot.map_err(OpenError::Snapshot)?;
        snapshot.upstreams.watch().await;
        self.settings.store(Arc::clone(&snapshot.net));
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    /// Stops accepting, waits for requests in progress for at most `grace` or until `force`
    /// resolves, and returns the number of connections that were cut. Clients that have connected
    /// by then are served.
    pub async fn close(self, end: End, grace: Duration, force: impl Future<Output = ()>) -> usize {
        let connections = Arc::clone(&self.connections);
        if end == End::Replaced {
            connections.hand_over();
        }
        tokio::select! {
            () = self.drain(grace) => {}
            () = force => {}
        }
        connections.finish(Duration::ZERO).await
    }

    async fn drain(self, grace: Duration) {
        for loops in &self.loops {
            loops.drain();
        }
        let deadline = tokio::time::Instant::now() + grace;
        let _ = tokio::time::timeout(grace, self.accepting.join_all()).await;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        self.connections.finish(left).await;
    }
}

/// Why the doors close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The addresses are no longer served.
    Final,
    /// Another process serves the same sockets.
    Replaced,
}

/// Why the doors cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A socket cannot be registered with the event loop.
    #[error("a listening socket cannot be used")]
    Socket(#[source] io::Error),
    /// The configuration cannot be used.
    #[error("what was configured cannot be used")]
    Snapshot(#[source] io::Error),
}

/// The tasks that accept connections.
struct Accepting {
    tasks: JoinSet<()>,
    connections: Arc<Connections>,
}

impl Accepting {
    /// Accepts connections that `loops` serve over HTTP.
    fn http<S: Serve>(
        &mut self,
        socket: TcpListener,
        listening: Listening,
        loops: &Loops,
        apps: PerLoop<Arc<S>>,
    ) -> Result<(), OpenError> {
        let incoming = Incoming::new(socket, loops).map_err(OpenError::Socket)?;
        let first = loops.accepting();
        let connections = Arc::clone(&self.connections);
        let accepted = connections.accept(incoming, listening, apps, first.draining());
        self.tasks.spawn_on(accepted, first.handle());
        Ok(())
    }
}

/// Returns the settings of the proxy on a loop, which keeps at most `idle` connections to upstreams.
fn pingora(idle: usize) -> ServerConf {
    ServerConf {
        // Pingora 0.9.1 multiplies the size of the pool by its number of threads.
        threads: 1,
        upstream_keepalive_pool_size: idle,
        max_retries: upstream::MOST_TRIES,
        // Pingora 0.9.1 reads the roots of the system when its connector is made, and panics at one that it
        // cannot read. Each peer has its own roots instead. Goes when that is an error.
        ca_file: Some(upstream::NO_ROOTS.to_owned()),
        ..ServerConf::default()
    }
}

/// Divides a number of idle connections among loops. The sizes differ by one at most.
fn pools(idle: usize, loops: usize) -> impl Iterator<Item = usize> {
    let loops = loops.max(1);
    (0..loops).map(move |number| idle / loops + usize::from(number < idle % loops))
}

#[cfg(test)]
mod tests {
    use super::pools;

    #[test]
    fn pools_of_loops_sum_up_to_the_configured_number() {
        for (idle, loops) in [(1024, 2), (1, 2), (7, 3), (3, 3), (2, 8), (1, 1)] {
            let sizes: Vec<_> = pools(idle, loops).collect();
            assert_eq!(sizes.len(), loops);
            assert_eq!(sizes.iter().sum::<usize>(), idle);
            let spread = sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
            assert!(spread <= 1, "{sizes:?}");
        }
    }
}
