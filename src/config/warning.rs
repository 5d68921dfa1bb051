//! Warnings about settings that are valid but probably mistakes.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;

use super::check::Config;
use super::error::Place;
use super::network_set::NetworkSet;
use super::route::Route;
use super::tls::ClientCertificates;
use super::unreached::unreached;
use super::wider::of_routes;

/// A warning. `Display` writes one line that begins with the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where the setting is; `None` if it has no place of its own.
    pub place: Option<Place>,
    /// The setting, and what to do.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.text)
    }
}

impl Config {
    /// Returns warnings about settings that are valid but probably mistakes.
    pub fn warnings(&self) -> Vec<Warning> {
        let of_route = |(route, text)| Warning {
            place: self.places.route(route),
            text,
        };
        let of_routes = of_own_networks(self)
            .into_iter()
            .chain(unreached(&self.routes))
            .chain(of_routes(&self.routes))
            .map(of_route);
        of_trust(self)
            .chain(self.no_routes_warning())
            .chain(of_no_proxy(self))
            .chain(of_unused(self))
            .chain(of_routes)
            .chain(self.observed_warnings())
            .collect()
    }

    /// Returns a warning if files are included and there is no route: perhaps the files were lost.
    pub fn no_routes_warning(&self) -> Option<Warning> {
        let place = self.places.key("include")?;
        self.routes.is_empty().then(|| Warning {
            place: Some(place),
            text: "include: no file has a route, so forward-auth allows every authenticated principal; add a route, or \
                   delete include if this is intended"
                .to_owned(),
        })
    }

    /// Returns warnings about the certificates of listeners, upstreams and CAs: one per file with
    /// certificates that are not valid at `now` or will soon expire, one per chain in the wrong order, and one per
    /// certificate of a listener without names.
    pub fn certificate_warnings(&self, now: SystemTime) -> Vec<String> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let warnings = self.validities.iter().filter_map(|it| it.warning(now));
        warnings.collect()
    }
}

/// Networks that are not routed on the Internet: RFC 1918, 6598, 3927 and 4193, link-local and
/// loopback.
const PRIVATE: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// Warns of trusted networks that are public: anybody there can describe any request. A single
/// public address is fine; it is that of a front proxy.
fn of_trust(config: &Config) -> impl Iterator<Item = Warning> {
    let is_private = |network: &IpNet| {
        PRIVATE
            .iter()
            .filter_map(|private| private.parse::<IpNet>().ok())
            .any(|private| private.contains(network))
    };
    let is_wide = move |network: &&IpNet| {
        network.prefix_len() < network.max_prefix_len() && !is_private(network)
    };
    let proxies = config.service.trusted_proxies.iter();
    proxies.filter(is_wide).map(|network| {
        let all = if network.prefix_len() == 0 {
            "contains every address"
        } else {
            "is not a private network"
        };
        Warning {
            place: config.places.key("service.trusted_proxies"),
            text: format!(
                "service.trusted_proxies: {network} {all}: anyone there may describe the original \
                 request and name the address of the client; list the addresses of your front proxies"
            ),
        }
    })
}

/// Warns of groups and networks that no route uses.
fn of_unused(config: &Config) -> Vec<Warning> {
    let groups = config.groups.iter().filter(|group| !group.is_used);
    let groups = groups.map(|group| {
        let name = &group.name;
        Warning {
            place: config.places.group(name),
            text: format!(
                "group {name:?}: no route uses it; name it in allow or except, or delete it"
            ),
        }
    });
    let networks = config.networks.iter().filter(|network| !network.is_used);
    let networks = networks.map(|network| {
        let name = &network.name;
        Warning {
            place: config.places.network(name),
            text: format!("networks.{name}: no route uses it; name it in from, or delete it"),
        }
    });
    groups.chain(networks).collect()
}

/// Warns of routes whose networks are all those of front proxies and load balancers.
fn of_own_networks(config: &Config) -> Vec<(usize, String)> {
    let transports = [&config.service.transport, &config.gateway.transport];
    let balancers = transports.iter().flat_map(|it| &it.proxy_protocol);
    let own: Vec<_> = balancers
        .chain(&config.service.trusted_proxies)
        .copied()
        .collect();
    let own = NetworkSet::from(&own[..]);
    let is_own = |route: &Route| route.from.as_ref().is_some_and(|from| own.holds(from));
    let routes = config.routes.iter().enumerate();
    let routes = routes.filter(|(_, route)| is_own(route));
    let routes = routes.map(|(at, route)| {
        let text = format!(
            "route {:?} never matches: service.trusted_proxies and proxy_protocol contain all of its networks, and an \
             address there is never that of a client",
            route.name
        );
        (at, text)
    });
    routes.collect()
}

/// Warns of settings that have no effect while the proxy is off.
fn of_no_proxy(config: &Config) -> Vec<Warning> {
    let gateway = &config.gateway;
    if gateway.listen.is_some() {
        return Vec::new();
    }
    let transport = &gateway.transport;
    let keys = [
        ("gateway.serve_api", gateway.serve_api),
        ("gateway.health_path", gateway.health_path.is_some()),
        ("gateway.tls", transport.tls),
        (
            "gateway.client_certificates",
            transport.client_certificates != ClientCertificates::Off,
        ),
        ("gateway.h2c", transport.h2c),
        (
            "gateway.proxy_protocol",
            !transport.proxy_protocol.is_empty(),
        ),
    ];
    let keys = keys.into_iter().filter(|(_, is_set)| *is_set);
    let keys = keys.map(|(key, _)| Warning {
        place: config.places.key(key),
        text: format!("{key} has no effect, since gateway.listen is \"off\"; delete the line"),
    });
    let upstreams = config.upstreams.iter().map(|upstream| Warning {
        place: config.places.upstream(&upstream.name),
        text: format!(
            "upstream {:?} gets no requests, since gateway.listen is \"off\"; delete its table",
            upstream.name
        ),
    });
    keys.chain(upstreams).collect()
}
