//! Finds the peers of an upstream. The state of an address and of a name outlives lookups and
//! reloads.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::Extensions;
use parking_lot::Mutex;
use pingora::Result;
use pingora::lb::Backend;
use pingora::lb::discovery::ServiceDiscovery;
use pingora::protocols::l4::socket::SocketAddr;
use tokio::sync::watch;

use super::state::State;
use crate::config::{self, PeerAddress};

/// The maximum number of addresses of an upstream.
const MOST_BACKENDS: usize = 10_000;

/// The maximum interval at which a name without an address is looked up.
const SOON: Duration = Duration::from_secs(1);

/// The state and origin of a peer's address.
pub(crate) struct Known {
    pub(crate) state: Arc<State>,
    /// The name that the address was found by.
    named: Option<Arc<Named>>,
    /// The peer as configured.
    pub(crate) label: Arc<str>,
}

impl Known {
    /// Returns the data of a backend's address.
    pub(crate) fn of(backend: &Backend) -> Option<&Arc<Self>> {
        backend.ext.get::<Arc<Self>>()
    }

    /// Returns whether the name's other address family gets the requests.
    pub(crate) fn is_standby(&self, address: &SocketAddr) -> bool {
        self.named
            .as_ref()
            .is_some_and(|named| named.spares(address))
    }

    /// Sends the requests of the name to the family of this address.
    pub(crate) fn prefer(&self, address: &SocketAddr) {
        if let (Some(named), SocketAddr::Inet(address)) = (&self.named, address) {
            let is_ipv6 = address.is_ipv6();
            named.prefers_ipv6.store(is_ipv6, Ordering::Relaxed);
        }
    }

    /// Returns whether both addresses belong to the same name.
    pub(crate) fn is_of_the_name_of(&self, other: &Self) -> bool {
        match (&self.named, &other.named) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// A name of a peer, and the addresses found for it.
pub(crate) struct Named {
    pub(crate) name: String,
    found: Mutex<Found>,
    /// The family that gets the requests if the name has both: IPv4 until it fails and IPv6 works.
    /// `localhost` and similar names often have both while the peer listens on one.
    prefers_ipv6: AtomicBool,
    is_tried: watch::Sender<bool>,
}

#[derive(Default)]
struct Found {
    addresses: Vec<net::SocketAddr>,
    /// Whether the last lookup failed.
    fails: bool,
}

/// The result of a lookup.
pub(crate) enum Learned {
    /// The name is resolved, as before.
    Known,
    /// The name is resolved after a failure.
    KnownAgain,
    /// The lookup failed. Holds the number of addresses that are kept.
    Unknown(usize, io::Error),
    /// The lookup failed again.
    StillUnknown,
}

impl Named {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            found: Mutex::default(),
            prefers_ipv6: AtomicBool::new(false),
            is_tried: watch::Sender::new(false),
        }
    }

    /// Stores the result of a lookup. A failure keeps the addresses.
    pub(crate) fn learn(&self, outcome: io::Result<Vec<net::SocketAddr>>) -> Learned {
        let mut found = self.found.lock();
        let failed = found.fails;
        found.fails = outcome.is_err();
        match outcome {
            Ok(addresses) => {
                let mut families = [false, true].into_iter().filter(|is_ipv6| {
                    let is_of_it = |address: &net::SocketAddr| address.is_ipv6() == *is_ipv6;
                    addresses.iter().any(is_of_it)
                });
                if let (Some(only), None) = (families.next(), families.next()) {
                    self.prefers_ipv6.store(only, Ordering::Relaxed);
                }
                found.addresses = addresses;
                if failed {
                    Learned::KnownAgain
                } else {
                    Learned::Known
                }
            }
            Err(_) if failed => Learned::StillUnknown,
            Err(error) => Learned::Unknown(found.addresses.len(), error),
        }
    }

    /// Records that the first lookup was processed.
    pub(crate) fn tried(&self) {
        self.is_tried.send_replace(true);
    }

    /// Waits until the first lookup has been processed.
    pub(crate) async fn is_tried(&self) {
        // This fails only if the sender is dropped, and `self` owns it.
        let _ = self.is_tried.subscribe().wait_for(|tried| *tried).await;
    }

    /// Returns the time until the next lookup.
    pub(crate) fn pause(&self, interval: Duration) -> Duration {
        if self.found.lock().addresses.is_empty() {
            interval.min(SOON)
        } else {
            interval
        }
    }

    /// Returns whether the name has no address.
    pub(crate) fn is_unknown(&self) -> bool {
        self.found.lock().addresses.is_empty()
    }

    fn spares(&self, address: &SocketAddr) -> bool {
        let prefers_ipv6 = self.prefers_ipv6.load(Ordering::Relaxed);
        matches!(address, SocketAddr::Inet(address) if address.is_ipv6() != prefers_ipv6)
    }
}

/// The peers of an upstream, with the state of their addresses.
pub(crate) struct Discovery {
    peers: Vec<Place>,
    states: Mutex<HashMap<SocketAddr, Arc<State>>>,
}

/// The configured location of a peer.
struct Place {
    at: At,
    weight: usize,
    label: Arc<str>,
}

enum At {
    Address(SocketAddr),
    Name(Arc<Named>),
}

impl Discovery {
    /// Makes a discovery that takes over the names and states of `before`.
    ///
    /// # Errors
    /// A path is too long for a Unix socket.
    pub(crate) fn new(peers: &[config::Peer], before: Option<&Self>) -> io::Result<Self> {
        let named = |name: &str| {
            let known = before.and_then(|it| it.names().find(|named| named.name == name));
            known.map_or_else(|| Arc::new(Named::new(name)), Arc::clone)
        };
        let place = |peer: &config::Peer| {
            let at = match &peer.address {
                PeerAddress::At(address) => At::Address(SocketAddr::Inet(*address)),
                PeerAddress::Named(name) => At::Name(named(name)),
                PeerAddress::Unix(path) => {
                    At::Address(SocketAddr::Unix(UnixAddr::from_pathname(path)?))
                }
            };
            let label = peer.address.to_string().into();
            let weight = peer.weight;
            Ok(Place { at, weight, label })
        };
        let states = before.map(|before| before.states.lock().clone());
        Ok(Self {
            peers: peers.iter().map(place).collect::<io::Result<_>>()?,
            states: Mutex::new(states.unwrap_or_default()),
        })
    }

    /// Returns the peers that have names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<Named>> {
        self.peers.iter().filter_map(|place| match &place.at {
            At::Name(named) => Some(named),
            At::Address(_) => None,
        })
    }

    fn backends(&self) -> BTreeSet<Backend> {
        let mut states = self.states.lock();
        let mut backends = BTreeSet::new();
        let mut add = |addr: SocketAddr, place: &Place, named: Option<&Arc<Named>>| {
            if backends.len() >= MOST_BACKENDS {
                return;
            }
            let state = Arc::clone(states.entry(addr.clone()).or_default());
            let mut ext = Extensions::new();
            ext.insert(Arc::new(Known {
                state,
                named: named.cloned(),
                label: Arc::clone(&place.label),
            }));
            let weight = place.weight;
            backends.insert(Backend { addr, weight, ext });
        };
        // Addresses go first: a configured address does not belong to a name that resolves to it.
        for place in &self.peers {
            if let At::Address(address) = &place.at {
                add(address.clone(), place, None);
            }
        }
        for place in &self.peers {
            if let At::Name(named) = &place.at {
                for address in &named.found.lock().addresses {
                    add(SocketAddr::Inet(*address), place, Some(named));
                }
            }
        }
        let addresses: BTreeSet<_> = backends.iter().map(|it| it.addr.clone()).collect();
        states.retain(|address, _| addresses.contains(address));
        backends
    }
}

/// A discovery that is shared with other tasks.
pub(crate) struct Shared(pub(crate) Arc<Discovery>);

#[async_trait]
impl ServiceDiscovery for Shared {
    /// Never waits: returns the known addresses.
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        Ok((self.0.backends(), HashMap::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovery(names: &[&str], before: Option<&Discovery>) -> Discovery {
        let peer = |name: &&str| config::Peer {
            address: match name.parse() {
                Ok(address) => PeerAddress::At(address),
                Err(_) => PeerAddress::Named((*name).to_owned()),
            },
            weight: 1,
        };
        let peers: Vec<_> = names.iter().map(peer).collect();
        Discovery::new(&peers, before).unwrap()
    }

    fn learn(discovery: &Discovery, name: &str, addresses: &[&str]) -> Learned {
        let named = discovery.names().find(|it| it.name == name).unwrap();
        let addresses: Vec<_> = addresses.iter().map(|it| it.parse().unwrap()).collect();
        named.learn(if addresses.is_empty() {
            Err(io::Error::other("unknown"))
        } else {
            Ok(addresses)
        })
    }

    /// Returns the addresses, with a mark at those on standby.
    fn addresses(discovery: &Discovery) -> Vec<String> {
        let backends = discovery.backends();
        let shown = backends.iter().map(|backend| {
            let known = backend.ext.get::<Arc<Known>>().unwrap();
            let spare = if known.is_standby(&backend.addr) {
                "?"
            } else {
                ""
            };
            format!("{}{spare}", backend.addr)
        });
        shown.collect()
    }

    #[test]
    fn unresolved_name_keeps_its_addresses_and_delays_no_other() {
        let discovery = discovery(&["a:9", "b:9"], None);
        assert!(matches!(
            learn(&discovery, "a:9", &["192.0.2.1:9"]),
            Learned::Known
        ));
        assert!(matches!(
            learn(&discovery, "b:9", &[]),
            Learned::Unknown(0, _)
        ));
        assert!(matches!(
            learn(&discovery, "b:9", &[]),
            Learned::StillUnknown
        ));
        assert!(matches!(
            learn(&discovery, "a:9", &["192.0.2.2:9"]),
            Learned::Known
        ));
        assert_eq!(addresses(&discovery), ["192.0.2.2:9"]);
        assert!(matches!(
            learn(&discovery, "b:9", &["192.0.2.3:9"]),
            Learned::KnownAgain
        ));
        assert!(matches!(
            learn(&discovery, "a:9", &[]),
            Learned::Unknown(1, _)
        ));
        assert_eq!(addresses(&discovery), ["192.0.2.2:9", "192.0.2.3:9"]);
    }

    #[test]
    fn one_family_of_a_name_gets_the_requests_and_the_other_spares() {
        let discovery = discovery(&["a:9", "[::2]:9"], None);
        learn(&discovery, "a:9", &["127.0.0.1:9", "[::1]:9", "[::2]:9"]);
        // A configured address is never on standby.
        assert_eq!(
            addresses(&discovery),
            ["127.0.0.1:9", "[::1]:9?", "[::2]:9"]
        );
        let backends = discovery.backends();
        let ipv6 = backends.iter().find(|it| it.addr.to_string() == "[::1]:9");
        let ipv6 = ipv6.unwrap();
        ipv6.ext.get::<Arc<Known>>().unwrap().prefer(&ipv6.addr);
        assert_eq!(
            addresses(&discovery),
            ["127.0.0.1:9?", "[::1]:9", "[::2]:9"]
        );
        // A name with one family has no standby addresses.
        learn(&discovery, "a:9", &["127.0.0.1:9"]);
        assert_eq!(addresses(&discovery), ["127.0.0.1:9", "[::2]:9"]);
    }

    #[test]
    fn state_of_peers_outlives_a_new_configuration() {
        let old = discovery(&["a:9", "192.0.2.7:9"], None);
        learn(&old, "a:9", &["192.0.2.1:9"]);
        for backend in old.backends() {
            backend.ext.get::<Arc<Known>>().unwrap().state.enter();
        }
        let new = discovery(&["192.0.2.8:9", "a:9", "192.0.2.7:9"], Some(&old));
        let busy = new
            .backends()
            .iter()
            .map(|backend| {
                let known = backend.ext.get::<Arc<Known>>().unwrap();
                (backend.addr.to_string(), known.state.under_way())
            })
            .collect::<Vec<_>>();
        let expected = [("192.0.2.1:9", 1), ("192.0.2.7:9", 1), ("192.0.2.8:9", 0)];
        assert_eq!(
            busy,
            expected.map(|(address, busy)| (address.to_owned(), busy))
        );
    }
}
