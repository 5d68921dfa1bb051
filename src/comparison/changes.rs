//! Compares the decisions about one host and path, for all methods and clients.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Method;
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::effects::EffectId;
use super::pairs::{PairId, Pairs};
use super::side::Side;
use crate::config::Route;
use crate::routing::input::MatchInput;
use crate::routing::target::Target;

/// Methods and clients for which the same is opened, closed and changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) methods: Methods,
    pub(super) clients: Clients,
    /// The policies before and after; `None` if they admit the same callers.
    pub(super) pair: Option<PairId>,
    /// The effects of the routes before and after; `None` if they do the same, or if there is only one.
    pub(super) effects: Option<[EffectId; 2]>,
    /// The index of the deciding route before and after.
    pub(super) routes: [Option<usize>; 2],
}

/// Some methods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Methods {
    Any,
    These(Vec<String>),
    Except(Vec<String>),
}

/// Some clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Clients {
    Any,
    Some {
        /// Their networks.
        inside: Vec<IpNet>,
        /// All other networks.
        outside: Vec<IpNet>,
        /// Whether clients whose address is unknown are among them.
        is_unknown: bool,
    },
}

/// How the decisions about a class differ.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Difference {
    pair: Option<PairId>,
    effects: Option<[EffectId; 2]>,
    routes: [Option<usize>; 2],
}

/// `None` if they do not differ.
type Outcome = Option<Difference>;

/// Addresses, the first and the last.
type Interval = (IpAddr, IpAddr);

/// The steps of reading a path in all ways, which costs as much as so many routes.
const READING: usize = 8;

/// Compares the decisions about a host and an undecoded path. Returns the differences; none if the
/// path is rejected whatever the routes are. `None` if it takes more than the steps that are left:
/// some for the path and one for each route that may match, for each method and network of clients.
pub(super) fn changes(
    sides: &[Side<'_>; 2],
    pairs: &mut Pairs,
    left: &mut usize,
    (host, path): (&str, &str),
) -> Option<Vec<Change>> {
    let (Ok(other), Ok(target)) = (
        Method::from_bytes(b"X-OTHER"),
        Target::read(path.as_bytes()),
    ) else {
        return Some(Vec::new());
    };
    let candidates = sides
        .each_ref()
        .map(|side| side.candidates(Some(host), &target));
    let all = || candidates.iter().flatten().copied();
    let mut named: Vec<&Method> = all()
        .filter_map(|it| it.methods.as_ref())
        .flatten()
        .collect();
    named.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    named.dedup();
    // These are rejected before routes are matched.
    named.retain(|method| ![Method::TRACE, Method::CONNECT].contains(method));
    let intervals = match all().any(|route| route.from.is_some()) {
        true => intervals(sides, all()),
        false => Vec::new(),
    };
    let mut input = MatchInput {
        host: Some(host),
        method: other.clone(),
        target,
        client: None,
    };
    let clients = intervals.iter().map(|(first, _)| Some(*first));
    let clients: Vec<Option<IpAddr>> = clients.chain([None]).collect();
    let routes: usize = candidates.iter().map(Vec::len).sum();
    *left = left.checked_sub((READING + routes) * (named.len() + 1) * clients.len())?;
    let methods = named.iter().copied().chain([&other]);
    let rows = methods.map(|method| -> Vec<Outcome> {
        input.method = method.clone();
        let mut outcome = |client: &Option<IpAddr>| {
            let [old, new] = sides
                .each_ref()
                .map(|side| side.decide(&mut input, *client));
            let pair = pairs.compare([old.policy, new.policy]);
            let effects = old.effect.zip(new.effect).filter(|(old, new)| old != new);
            (pair.is_some() || effects.is_some()).then_some(Difference {
                pair,
                effects: effects.map(Into::into),
                routes: [old.route, new.route],
            })
        };
        clients.iter().map(&mut outcome).collect()
    });
    let rows: Vec<_> = rows.collect();
    Some(by_methods(&rows, &named, &intervals))
}

/// Groups the methods that have the same outcomes for the same clients: the named ones, and at the
/// end all others.
fn by_methods(rows: &[Vec<Outcome>], named: &[&Method], intervals: &[Interval]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (row, places) in grouped(rows) {
        let name = |at: &usize| named.get(*at).map(ToString::to_string);
        let methods = if places.len() == rows.len() {
            Methods::Any
        } else if places.contains(&named.len()) {
            let others = (0..named.len()).filter(|at| !places.contains(at));
            Methods::Except(others.filter_map(|at| name(&at)).collect())
        } else {
            Methods::These(places.iter().filter_map(name).collect())
        };
        for (outcome, places) in grouped(row) {
            let Some(difference) = *outcome else {
                continue;
            };
            changes.push(Change {
                methods: methods.clone(),
                clients: clients(&places, intervals),
                pair: difference.pair,
                effects: difference.effects,
                routes: difference.routes,
            });
        }
    }
    changes
}

/// Groups equal values, with the places of each.
fn grouped<T: PartialEq>(values: &[T]) -> Vec<(&T, Vec<usize>)> {
    let mut groups: Vec<(&T, Vec<usize>)> = Vec::new();
    for (at, value) in values.iter().enumerate() {
        match groups.iter_mut().find(|(it, _)| *it == value) {
            Some((_, places)) => places.push(at),
            None => groups.push((value, vec![at])),
        }
    }
    groups
}

/// Returns the clients at some places: those of each interval, and at the end unknown ones.
fn clients(places: &[usize], intervals: &[Interval]) -> Clients {
    if places.len() > intervals.len() {
        return Clients::Any;
    }
    let of = |are_inside: bool| {
        let places = (0..intervals.len()).filter(|at| places.contains(at) == are_inside);
        networks(places.filter_map(|at| intervals.get(at)))
    };
    Clients::Some {
        inside: of(true),
        outside: of(false),
        is_unknown: places.contains(&intervals.len()),
    }
}

/// Returns intervals of addresses, in each of which all addresses are in the same networks: those
/// of routes, and those of front proxies and load balancers.
fn intervals<'a>(sides: &[Side<'_>; 2], routes: impl Iterator<Item = &'a Route>) -> Vec<Interval> {
    let of_routes = routes.filter_map(|route| route.from.as_ref());
    let of_routes = of_routes.flat_map(|networks| networks.listed());
    let no_clients = sides.iter().flat_map(|side| {
        let config = side.config();
        let transports = [&config.gateway.transport, &config.service.transport];
        let balancers = transports.into_iter().flat_map(|it| &it.proxy_protocol);
        balancers.chain(&config.service.trusted_proxies)
    });
    let mut four = BTreeSet::from([0_u32]);
    let mut six = BTreeSet::from([0_u128]);
    for network in of_routes.chain(no_clients) {
        match network {
            IpNet::V4(network) => {
                four.insert(network.network().to_bits());
                four.extend(network.broadcast().to_bits().checked_add(1));
            }
            IpNet::V6(network) => {
                six.insert(network.network().to_bits());
                six.extend(network.broadcast().to_bits().checked_add(1));
            }
        }
    }
    let four_ends = four.iter().skip(1).map(|next| next - 1).chain([u32::MAX]);
    let six_ends = six.iter().skip(1).map(|next| next - 1).chain([u128::MAX]);
    let four = four.iter().zip(four_ends).map(|(first, last)| {
        let address = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
        (address(*first), address(last))
    });
    let six = six.iter().zip(six_ends).map(|(first, last)| {
        let address = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
        (address(*first), address(last))
    });
    four.chain(six).collect()
}

/// Returns the networks of intervals.
fn networks<'a>(intervals: impl Iterator<Item = &'a Interval>) -> Vec<IpNet> {
    let networks = intervals.flat_map(|interval| -> Vec<IpNet> {
        match *interval {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
            }
            _ => Vec::new(),
        }
    });
    IpNet::aggregate(&networks.collect())
}
