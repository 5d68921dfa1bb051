use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use crate::principal::PrincipalRef;

/// Where an attempt comes from: by this it is decided whose failures are whose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source<'a> {
    /// The address of the client; none over a Unix socket.
    pub address: Option<IpAddr>,
    /// What tells clients apart better than the address does.
    pub party: Option<Party<'a>>,
}

/// What tells clients apart better than an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party<'a> {
    /// The subject of the certificate that the client has shown, which replaces the address.
    Certificate(&'a str),
    /// The token is verified for somebody else, of whom nothing is known but who verifies it. The address
    /// is that of the verifier and does not count.
    Verifier(PrincipalRef<'a>),
    /// The token is verified for a client whose address the verifier has named.
    ClientOf(PrincipalRef<'a>),
}

impl<'a> Source<'a> {
    /// Returns the source that is an address and nothing more.
    pub const fn of(address: Option<IpAddr>) -> Self {
        Self {
            address,
            party: None,
        }
    }

    /// Returns what is counted as one source; none if nothing is known.
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

    /// Says whether failures count against the source as a whole. A verifier is not a guesser because those
    /// it asks for are.
    pub(super) fn has_limit(self) -> bool {
        !matches!(self.party, Some(Party::Verifier(_)))
    }
}

/// What is counted as one source.
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

/// Returns what counts as one address: all of IPv4, the /64 of IPv6, of which a host has every address (RFC 4291
/// §2.5.4).
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => (address.to_bits() >> 64 << 64).to_be_bytes().into(),
    }
}
