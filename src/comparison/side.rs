//! One of the two configurations.

use std::cell::OnceCell;
use std::net::IpAddr;

use super::effects::{EffectId, Effects};
use super::pairs::{Pairs, PolicyId};
use crate::auth::{Mode, Policy};
use crate::config::{Config, Route};
use crate::routing::input::MatchInput;
use crate::routing::route::{RouteTable, Unrouted};
use crate::routing::target::Target;

/// A configuration, with the table that its doors use.
#[derive(Debug)]
pub(super) struct Side<'a> {
    config: &'a Config,
    /// Not needed if no route has changed.
    table: OnceCell<RouteTable>,
    /// Who may pass each route, by its index.
    policies: Vec<PolicyId>,
    /// What each route does besides, by its index.
    effects: Vec<EffectId>,
    /// Who may pass where no route decides, if anybody.
    otherwise: Option<PolicyId>,
}

/// A decision before the caller is known: who may pass, and the index of the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// `None` if the request is rejected.
    pub(super) policy: Option<PolicyId>,
    pub(super) effect: Option<EffectId>,
    pub(super) route: Option<usize>,
}

impl<'a> Side<'a> {
    pub(super) fn new(config: &'a Config, pairs: &mut Pairs, effects: &mut Effects) -> Self {
        let policies = config.routes.iter();
        // Without routes, forward-auth permits every authenticated principal.
        let is_empty = config.routes.is_empty();
        Self {
            config,
            table: OnceCell::new(),
            policies: policies
                .map(|route| pairs.policy(effective(route)))
                .collect(),
            effects: effects.of_routes(config),
            otherwise: is_empty.then(|| pairs.policy(&Policy::Authenticated)),
        }
    }

    pub(super) fn config(&self) -> &'a Config {
        self.config
    }

    fn table(&self) -> &RouteTable {
        let table = || RouteTable::new(&self.config.routes);
        self.table.get_or_init(table)
    }

    pub(super) fn effect(&self, route: usize) -> Option<EffectId> {
        self.effects.get(route).copied()
    }

    pub(super) fn policy(&self, route: usize) -> Option<PolicyId> {
        self.policies.get(route).copied()
    }

    /// Returns the routes that match a host and a path in one of its readings, for some method and
    /// client.
    pub(super) fn candidates(&self, host: Option<&str>, target: &Target<'_>) -> Vec<&'a Route> {
        let paths = std::iter::once(target.literal()).chain(target.readings());
        let places = paths.flat_map(|path| self.table().candidates(host, path));
        let mut places: Vec<_> = places.collect();
        places.sort_unstable();
        places.dedup();
        let routes = &self.config.routes;
        places.into_iter().filter_map(|at| routes.get(at)).collect()
    }

    /// Decides a request as the doors do. `client` is the address that a trusted party names.
    pub(super) fn decide(&self, input: &mut MatchInput<'_>, client: Option<IpAddr>) -> Decision {
        input.client = client.filter(|client| self.config.may_be_client(*client));
        match self.table().resolve(input) {
            Ok(found) => Decision {
                policy: self.policy(found.place),
                effect: self.effect(found.place),
                route: Some(found.place),
            },
            Err(error) => Decision {
                policy: match error {
                    Unrouted::None => self.otherwise,
                    Unrouted::Slashes(_) | Unrouted::Readings => None,
                },
                effect: None,
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
