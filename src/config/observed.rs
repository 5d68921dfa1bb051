//! Warnings about routes that only observe.

use super::check::Config;
use super::route::Route;
use super::warning::Warning;
use crate::auth::{Mode, Policy};

impl Config {
    /// Returns a warning for each route that observes its policy and does not enforce it.
    pub fn observed_warnings(&self) -> impl Iterator<Item = Warning> {
        let routes = self.routes.iter().enumerate();
        let observed = routes.filter(|(_, route)| route.mode == Mode::Observe);
        observed.map(|(at, route)| {
            let name = &route.name;
            let text = if route.policy == Policy::Anyone {
                format!(
                    "route {name:?}: mode = \"observe\" has no effect, since allow = \"anyone\" denies nothing; \
                     delete the line"
                )
            } else {
                format!(
                    "route {name:?} is not enforced: mode = \"observe\" lets every caller through, with or without a \
                     credential; delete the line to enforce the route"
                )
            };
            Warning {
                place: self.places.route(at),
                text,
            }
        })
    }
}

impl Route {
    /// Returns whether the policy in effect may admit callers that the other route does not.
    pub(super) fn admits_more_than(&self, other: &Self) -> bool {
        !self.effective_policy().is_within(other.effective_policy())
    }

    /// Returns the policy in effect: a route that only observes admits anyone.
    const fn effective_policy(&self) -> &Policy {
        match self.mode {
            Mode::Enforce => &self.policy,
            Mode::Observe => &Policy::Anyone,
        }
    }
}
