//! Which peers there are: names are looked up, and what is known of a peer stays with its address.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use async_trait::async_trait;
use http::Extensions;
use parking_lot::Mutex;
use pingora::lb::Backend;
use pingora::lb::discovery::ServiceDiscovery;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{ErrorType, OrErr, Result};
use tokio::net::lookup_host;

use crate::config::{self, Ejection, PeerAddress, of_one_family};

/// What is known of a peer.
#[derive(Default)]
pub(super) struct State {
    under_way: AtomicUsize,
    /// Failures in a row.
    failures: AtomicUsize,
    /// Until when it gets no requests, in milliseconds of [`now`].
    ejected_until: AtomicU64,
}

/// Milliseconds since this was asked first.
fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl State {
    pub(super) fn enter(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(super) fn is_ejected(&self) -> bool {
        match self.ejected_until.load(Ordering::Relaxed) {
            0 => false,
            until => now() < until,
        }
    }

    pub(super) fn answered(&self) {
        // Most often there is nothing to write.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a failure; says whether the peer is ejected for it.
    pub(super) fn failed(&self, ejection: &Ejection) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        // One that comes back and fails again has used up its failures.
        let is_ejected = ejection.failures > 0 && failures >= ejection.failures;
        if is_ejected {
            let time = u64::try_from(ejection.time.as_millis()).unwrap_or(u64::MAX);
            let until = now().saturating_add(time);
            self.ejected_until.store(until, Ordering::Relaxed);
        }
        is_ejected
    }
}

/// Finds the peers of an upstream.
pub(super) struct Discovery {
    peers: Mutex<Vec<config::Peer>>,
    is_known: AtomicBool,
    states: Mutex<HashMap<SocketAddr, Arc<State>>>,
}

impl Discovery {
    pub(super) fn new(peers: &[config::Peer]) -> Self {
        Self {
            peers: Mutex::new(peers.to_vec()),
            is_known: AtomicBool::new(true),
            states: Mutex::default(),
        }
    }

    /// Looks up the names; those that have no address now keep what they had.
    async fn look_up(&self) -> Result<()> {
        let mut found = self.peers.lock().clone();
        let mut outcome = Ok(());
        for peer in &mut found {
            if let PeerAddress::Named { name, addresses } = &mut peer.address {
                match lookup_host(name.as_str()).await.map(of_one_family) {
                    Ok(now) if now.is_empty() => {}
                    Ok(now) => *addresses = now,
                    Err(error) => {
                        outcome = Err(error).or_err(ErrorType::InternalError, "a name is unknown");
                    }
                }
            }
        }
        *self.peers.lock() = found;
        outcome
    }

    fn backends(&self) -> Result<BTreeSet<Backend>> {
        let mut states = self.states.lock();
        let mut backends = BTreeSet::new();
        let mut add = |addr: SocketAddr, weight| {
            let state = Arc::clone(states.entry(addr.clone()).or_default());
            let mut ext = Extensions::new();
            ext.insert(state);
            backends.insert(Backend { addr, weight, ext });
        };
        for peer in &*self.peers.lock() {
            match &peer.address {
                PeerAddress::At(address) => add(SocketAddr::Inet(*address), peer.weight),
                PeerAddress::Named { addresses, .. } => {
                    for address in addresses {
                        add(SocketAddr::Inet(*address), peer.weight);
                    }
                }
                PeerAddress::Unix(path) => {
                    let address = UnixAddr::from_pathname(path)
                        .or_err(ErrorType::SocketError, "no path of a socket")?;
                    add(SocketAddr::Unix(address), peer.weight);
                }
            }
        }
        let addresses: BTreeSet<_> = backends.iter().map(|it| it.addr.clone()).collect();
        states.retain(|address, _| addresses.contains(address));
        Ok(backends)
    }
}

#[async_trait]
impl ServiceDiscovery for Discovery {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        // The configuration has looked up all names a moment ago.
        if !self.is_known.swap(false, Ordering::Relaxed) {
            self.look_up().await?;
        }
        Ok((self.backends()?, HashMap::new()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ejection(failures: usize) -> Ejection {
        Ejection {
            failures,
            time: Duration::from_secs(3600),
        }
    }

    #[test]
    fn failures_in_a_row_eject_and_an_answer_begins_anew() {
        let state = State::default();
        let eject = ejection(2);
        assert!(!state.failed(&eject));
        state.answered();
        assert!(!state.failed(&eject) && !state.is_ejected());
        assert!(state.failed(&eject) && state.is_ejected());
    }

    #[test]
    fn nobody_is_ejected_where_that_is_off() {
        let state = State::default();
        assert!((0..100).all(|_| !state.failed(&ejection(0))));
        assert!(!state.is_ejected());
    }

    #[tokio::test]
    async fn name_without_an_address_keeps_what_it_had() {
        let address: std::net::SocketAddr = "192.0.2.7:9".parse().unwrap();
        let named = |name: &str| config::Peer {
            address: PeerAddress::Named {
                name: name.to_owned(),
                addresses: vec![address],
            },
            weight: 1,
        };
        let discovery = Discovery::new(&[named("no-such-host.invalid:9"), named("localhost:9")]);
        let (first, _) = discovery.discover().await.unwrap();
        assert_eq!(first.len(), 1);
        assert!(discovery.discover().await.is_err());
        // What was found is taken all the same, the next time at the latest.
        let backends = discovery.backends().unwrap();
        let addresses: Vec<_> = backends.iter().map(|it| it.addr.to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:9", "192.0.2.7:9"]);
    }
}
