//! One of the two configurations.

use std::net::IpAddr;

use super::pairs::{Pairs, PolicyId};
use crate::auth::{Mode, Policy};
use crate::config::{Config, Route};
use crate::routing::input::MatchInput;
use crate::routing::route::{RouteTable, Unrouted};

/// A configuration, with the table that its doors use.
#[derive(Debug)]
pub(super) struct Side<'a> {
    config: &'a Config,
    table: RouteTable,
    /// Who may pass each route, by its index.
    policies: Vec<PolicyId>,
    /// Who may pass where no route decides, if anybody.
    otherwise: Option<PolicyId>,
}

/// A decision before the caller is known: who may pass, and the index of the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// `None` if the request is rejected.
    pub(super) policy: Option<PolicyId>,
    pub(super) route: Option<usize>,
}

impl<'a> Side<'a> {
    pub(super) fn new(config: &'a Config, pairs: &mut Pairs) -> Self {
        let policies = config.routes.iter();
        // Without routes, forward-auth permits every authenticated principal.
        let is_empty = config.routes.is_empty();
        Self {
            config,
            table: RouteTable::new(&config.routes),
            policies: policies
                .map(|route| pairs.policy(effective(route)))
                .collect(),
            otherwise: is_empty.then(|| pairs.policy(&Policy::Authenticated)),
        }
    }

    pub(super) fn config(&self) -> &'a Config {
        self.config
    }

    pub(super) fn policy(&self, route: usize) -> Option<PolicyId> {
        self.policies.get(route).copied()
    }

    /// Returns the routes that match a host and an undecoded path, for some method and client.
    pub(super) fn candidates(&self, host: Option<&str>, path: &[u8]) -> Vec<&'a Route> {
        let places = self.table.candidates(host, path);
        let routes = &self.config.routes;
        places.into_iter().filter_map(|at| routes.get(at)).collect()
    }

    /// Decides a request as the doors do. `client` is the address that a trusted party names.
    pub(super) fn decide(&self, input: &mut MatchInput<'_>, client: Option<IpAddr>) -> Decision {
        input.client = client.filter(|client| self.config.may_be_client(*client));
        match self.table.resolve(input) {
            Ok(found) => Decision {
                policy: self.policy(found.place),
                route: Some(found.place),
            },
            Err(error) => Decision {
                policy: match error {
                    Unrouted::None => self.otherwise,
                    Unrouted::Slashes(_) | Unrouted::Readings => None,
                },
                route: None,
            },
        }
    }
}

/// Returns who passes a route: everyone if it only observes.
fn effective(route: &Route) -> &Policy {
    match route.mode {
        Mode::Enforce => &route.policy,
        Mode::Observe => &Policy::Anyone,
    }
}
