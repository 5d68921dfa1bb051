//! A set of networks, for lookups that do not depend on its size.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// A set of networks. A lookup takes a number of steps that grows with the logarithm of the size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NetworkSet {
    /// As in the configuration.
    listed: Arc<[IpNet]>,
    /// The same addresses in as few networks as possible: disjoint and ascending, IPv4 first.
    merged: Box<[IpNet]>,
}

impl NetworkSet {
    /// Makes a set of networks without host bits.
    pub fn new(listed: Arc<[IpNet]>) -> Self {
        let merged = IpNet::aggregate(&listed.to_vec()).into();
        Self { listed, merged }
    }

    /// Returns the networks as they are in the configuration.
    pub fn listed(&self) -> &[IpNet] {
        &self.listed
    }

    /// Returns whether an address is in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.nearest(address)
            .is_some_and(|network| network.contains(&address))
    }

    /// Returns whether every address of `other` is in one of the networks.
    pub fn holds(&self, other: &Self) -> bool {
        other.merged.iter().all(|network| {
            self.nearest(network.addr())
                .is_some_and(|held| held.contains(network))
        })
    }

    /// Returns the last network that does not begin after an address: only that one can contain it.
    fn nearest(&self, address: IpAddr) -> Option<&IpNet> {
        let after = self
            .merged
            .partition_point(|network| network.addr() <= address);
        self.merged.get(after.checked_sub(1)?)
    }
}

impl From<&[IpNet]> for NetworkSet {
    fn from(listed: &[IpNet]) -> Self {
        Self::new(listed.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// Few addresses, at both ends and in the middle of each family, so that networks overlap, adjoin
    /// and reach the last address.
    fn address() -> impl Strategy<Value = IpAddr> {
        let four = prop_oneof![
            0..9_u32,
            (u32::MAX - 8)..=u32::MAX,
            0x0a00_0000..0x0a00_0009_u32
        ];
        let six = prop_oneof![0..9_u128, (u128::MAX - 8)..=u128::MAX];
        prop_oneof![
            four.prop_map(|it| Ipv4Addr::from(it).into()),
            six.prop_map(|it| Ipv6Addr::from(it).into()),
        ]
    }

    fn network() -> impl Strategy<Value = IpNet> {
        (address(), prop_oneof![0..5_u8, Just(24), Just(33)]).prop_map(|(address, host_bits)| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let length = if host_bits == 33 { 0 } else { most - host_bits };
            IpNet::new(address, length).unwrap().trunc()
        })
    }

    proptest! {
        #[test]
        fn set_has_the_addresses_of_its_networks(
            networks in proptest::collection::vec(network(), 0..8),
            others in proptest::collection::vec(network(), 0..4),
            addresses in proptest::collection::vec(address(), 1..40),
        ) {
            let set = NetworkSet::from(&networks[..]);
            for address in &addresses {
                let expected = networks.iter().any(|network| network.contains(address));
                prop_assert_eq!(set.contains(*address), expected, "{:?} {}", networks, address);
            }
            let other = NetworkSet::from(&others[..]);
            if set.holds(&other) {
                let mut of_other = addresses.iter().filter(|address| other.contains(**address));
                prop_assert!(of_other.all(|address| set.contains(*address)));
            }
            let all_are_held = others
                .iter()
                .all(|other| networks.iter().any(|network| network.contains(other)));
            prop_assert!(!all_are_held || set.holds(&other), "{:?} {:?}", networks, others);
        }
    }

    #[test]
    fn adjoining_networks_hold_the_network_of_both() {
        let set = |networks: &[&str]| {
            let networks: Vec<IpNet> = networks.iter().map(|it| it.parse().unwrap()).collect();
            NetworkSet::from(&networks[..])
        };
        let halves = set(&["10.0.0.0/9", "10.128.0.0/9"]);
        assert!(halves.holds(&set(&["10.0.0.0/8"])));
        assert!(!halves.holds(&set(&["10.0.0.0/7"])));
        assert!(!halves.holds(&set(&["10.0.0.0/8", "::/0"])));
    }
}
