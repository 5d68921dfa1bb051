//! How many connections there may be, in all and of one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

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

/// A connection that counts in all until this is dropped.
pub(crate) struct Admitted(Arc<Admission>);

/// A connection that counts for its address until this is dropped.
pub(crate) struct AdmittedFrom {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    /// Counts a connection in, unless there are `most` already.
    pub(crate) fn admit(self: &Arc<Self>, most: usize) -> Result<Admitted, Full> {
        let mut open = self.open.lock();
        if open.all >= most {
            return Err(Full::InAll);
        }
        open.all += 1;
        Ok(Admitted(Arc::clone(self)))
    }

    /// Counts a connection from `address`, unless there are too many from there already.
    pub(crate) fn admit_from(
        self: &Arc<Self>,
        address: IpAddr,
        limits: &config::Limits,
    ) -> Result<AdmittedFrom, Full> {
        let address = block(address.to_canonical());
        let mut open = self.open.lock();
        let count = open.of.entry(address).or_default();
        if *count >= limits.connections_per_address {
            return Err(Full::OfAddress);
        }
        *count += 1;
        Ok(AdmittedFrom {
            admission: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.open.lock().all -= 1;
    }
}

impl Drop for AdmittedFrom {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        if let Some(count) = open.of.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.of.remove(&self.address);
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

    fn limits() -> config::Limits {
        config::Limits {
            header_bytes: 0,
            header_fields: 0,
            target_bytes: 0,
            body_bytes: 0,
            drain_bytes: 0,
            connections: 4,
            connections_per_address: 2,
        }
    }

    fn admit(admission: &Arc<Admission>, address: &str) -> Result<AdmittedFrom, Full> {
        admission.admit_from(address.parse().unwrap(), &limits())
    }

    #[test]
    fn address_has_its_share_and_gets_it_back() {
        let admission = Arc::<Admission>::default();
        let first = admit(&admission, "192.0.2.1").ok();
        let _second = admit(&admission, "::ffff:192.0.2.1").ok().unwrap();
        assert_eq!(admit(&admission, "192.0.2.1").err(), Some(Full::OfAddress));
        assert!(admit(&admission, "192.0.2.2").is_ok());
        drop(first);
        assert!(admit(&admission, "192.0.2.1").is_ok());
    }

    #[test]
    fn addresses_of_one_host_share() {
        let admission = Arc::<Admission>::default();
        let _open = ["2001:db8::1", "2001:db8::2"].map(|it| admit(&admission, it).ok().unwrap());
        let third = admit(&admission, "2001:db8::ffff:0:0:1");
        assert_eq!(third.err(), Some(Full::OfAddress));
        assert!(admit(&admission, "2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn all_together_have_a_limit_and_nothing_is_left_behind() {
        let admission = Arc::<Admission>::default();
        let from = admit(&admission, "192.0.2.1").ok();
        let open: Vec<_> = (0..4).map(|_| admission.admit(4).ok().unwrap()).collect();
        assert_eq!(admission.admit(4).err(), Some(Full::InAll));
        drop((open, from));
        let left = admission.open.lock();
        assert_eq!((left.all, left.of.len()), (0, 0));
    }
}
