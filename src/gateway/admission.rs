//! How many connections there may be, in all and of one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;

use crate::config;

/// Counts connections.
#[derive(Default)]
pub(crate) struct Admission {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    /// Only addresses that have a connection: as many as there are connections, at most.
    of: HashMap<IpAddr, usize>,
}

/// Why a connection is closed as soon as it is there. For the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// `limits.connections` are open.
    InAll,
    /// `limits.connections_per_address` are open from there.
    OfAddress,
}

/// A connection that counts until this is dropped.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    of: Option<IpAddr>,
}

impl Admission {
    /// Counts a connection from `address`, unless there are too many already. Those in `exempt` count in
    /// all only: front proxies, whose clients all come from one address.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        limits: &config::Limits,
        exempt: &[IpNet],
    ) -> Result<Admitted, Full> {
        let address = address.to_canonical();
        let is_exempt = exempt.iter().any(|network| network.contains(&address));
        let of = (!is_exempt).then(|| block(address));
        let mut open = self.open.lock();
        if open.all >= limits.connections {
            return Err(Full::InAll);
        }
        if let Some(of) = of {
            let count = open.of.entry(of).or_default();
            if *count >= limits.connections_per_address {
                return Err(Full::OfAddress);
            }
            *count += 1;
        }
        open.all += 1;
        Ok(Admitted {
            admission: Arc::clone(self),
            of,
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        open.all -= 1;
        if let Some(of) = self.of
            && let Some(count) = open.of.get_mut(&of)
        {
            *count -= 1;
            if *count == 0 {
                open.of.remove(&of);
            }
        }
    }
}

/// Returns what counts as one address: for IPv6 its /64, of which a host has all addresses (RFC 4291
/// §2.5.4).
fn block(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Arc<Admission> {
        Arc::default()
    }

    fn admit(admission: &Arc<Admission>, address: &str) -> Result<Admitted, Full> {
        let limits = config::Limits {
            header_bytes: 0,
            header_fields: 0,
            target_bytes: 0,
            body_bytes: 0,
            drain_bytes: 0,
            connections: 4,
            connections_per_address: 2,
        };
        let exempt = ["10.0.0.0/8".parse().unwrap()];
        admission.admit(address.parse().unwrap(), &limits, &exempt)
    }

    #[test]
    fn address_has_its_share_and_gets_it_back() {
        let admission = admission();
        let first = admit(&admission, "192.0.2.1").ok();
        let _second = admit(&admission, "::ffff:192.0.2.1").ok().unwrap();
        assert_eq!(admit(&admission, "192.0.2.1").err(), Some(Full::OfAddress));
        assert!(admit(&admission, "192.0.2.2").is_ok());
        drop(first);
        assert!(admit(&admission, "192.0.2.1").is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_share() {
        let admission = admission();
        let _one = admit(&admission, "2001:db8::1").ok().unwrap();
        let _other = admit(&admission, "2001:db8::ffff:2").ok().unwrap();
        assert_eq!(
            admit(&admission, "2001:db8::3").err(),
            Some(Full::OfAddress)
        );
        assert!(admit(&admission, "2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn trusted_proxy_has_no_share_but_counts_in_all() {
        let admission = admission();
        let all: Vec<_> = (0..4).map(|_| admit(&admission, "10.1.2.3").ok()).collect();
        assert!(all.iter().all(Option::is_some));
        assert_eq!(admit(&admission, "10.1.2.3").err(), Some(Full::InAll));
        assert_eq!(admit(&admission, "192.0.2.1").err(), Some(Full::InAll));
        drop(all);
        assert!(admission.open.lock().of.is_empty());
        assert!(admit(&admission, "192.0.2.1").is_ok());
    }
}
