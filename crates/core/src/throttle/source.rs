use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use crate::principal::PrincipalRef;

/// The origin of an attempt, against which failures count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source<'a> {
    /// The address of the client; `None` over a Unix socket.
    pub address: Option<IpAddr>,
    /// An identity of the client more specific than its address.
    pub party: Option<Party<'a>>,
}

/// An identity of a client more specific than its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party<'a> {
    /// The subject of the client certificate. It replaces the address.
    Certificate(&'a str),
    /// A principal that verifies the token of an end user of whom nothing is known. The address is
    /// that of the verifier and does not count.
    Verifier(PrincipalRef<'a>),
    /// A principal that verifies the token of an end user whose address it has given.
    ClientOf(PrincipalRef<'a>),
}

impl<'a> Source<'a> {
    /// Returns the source that consists of an address only.
    pub const fn of(address: Option<IpAddr>) -> Self {
        Self {
            address,
            party: None,
        }
    }

    /// Returns the key under which failures count, or `None` if nothing is known.
    pub(super) fn place(self) -> Option<Place<'a>> {
        let address = match self.party {
            None => Some(self.address?),
            Some(Party::ClientOf(_)) => self.address,
            Some(Party::Certificate(_) | Party::Verifier(_)) => None,
        };
        Some(Place {
            party: self.party,
            address: address.map(network),
        })
    }

    /// Returns whether failures count against the source as a whole. A verifier is not an attacker
    /// because its end users are.
    pub(super) fn has_limit(self) -> bool {
        !matches!(self.party, Some(Party::Verifier(_)))
    }
}

/// The key under which the failures of a source count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    party: Option<Party<'a>>,
    address: Option<IpAddr>,
}

impl Hash for Place<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.party {
            None => 0_u8.hash(state),
            Some(Party::Certificate(subject)) => (1_u8, subject).hash(state),
            Some(Party::Verifier(who)) => (2_u8, who).hash(state),
            Some(Party::ClientOf(who)) => (3_u8, who).hash(state),
        }
        self.address.hash(state);
    }
}

/// Returns the network that counts as one address: the address itself for IPv4, its /64 for IPv6,
/// of which a host has every address (RFC 4291 §2.5.4).
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => (address.to_bits() >> 64 << 64).to_be_bytes().into(),
    }
}
