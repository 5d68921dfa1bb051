//! The words of sentences.

use ipnet::IpNet;

use super::changes::{Clients, Methods};
use crate::auth::{Mode, Policy, Rule};
use crate::config::{Config, Route};

/// The maximum number of paths, hosts, networks or rules in a sentence.
const SHOWN: usize = 8;

/// Joins some texts, and says how many more there are.
pub(super) fn few(texts: &[String]) -> String {
    joined(texts, ", ")
}

fn joined(texts: &[String], separator: &str) -> String {
    let shown = texts.iter().take(SHOWN).map(String::as_str);
    let shown = shown.collect::<Vec<_>>().join(separator);
    match texts.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// As [`few`], for texts that may name exceptions.
pub(super) fn few_callers(texts: &[String]) -> String {
    match texts.iter().any(|text| text.contains(" except ")) {
        true => joined(texts, "; also "),
        false => few(texts),
    }
}

pub(super) fn with_exceptions(texts: &[String], except: &[String]) -> String {
    match except.is_empty() {
        true => few(texts),
        false => format!("{} except {}", few(texts), few(except)),
    }
}

pub(super) fn methods_text(methods: &Methods) -> String {
    match methods {
        Methods::Any => String::new(),
        Methods::These(methods) => format!(" with {}", few(methods)),
        Methods::Except(methods) => format!(" with methods other than {}", few(methods)),
    }
}

pub(super) fn clients_text(clients: &Clients) -> String {
    let Clients::Some {
        inside,
        outside,
        is_unknown,
    } = clients
    else {
        return String::new();
    };
    let (these, others) = (few(&texts(inside)), few(&texts(outside)));
    match (inside.is_empty(), is_unknown) {
        (true, _) => " from unknown addresses".to_owned(),
        (false, true) if outside.len() < inside.len() => format!(" from outside {others}"),
        (false, true) => format!(" from {these} and unknown addresses"),
        (false, false) if outside.len() < inside.len() => {
            format!(" from known addresses outside {others}")
        }
        (false, false) => format!(" from {these}"),
    }
}

pub(super) fn texts(networks: &[IpNet]) -> Vec<String> {
    networks.iter().map(IpNet::to_string).collect()
}

/// Names a route.
pub(super) fn name(config: &Config, place: Option<usize>) -> String {
    let route = place.and_then(|place| config.routes.get(place));
    route.map_or_else(String::new, |route| format!("route {:?}", route.name))
}

/// Describes a route and whom it allows.
pub(super) fn route(config: &Config, place: Option<usize>) -> String {
    match place.and_then(|place| config.routes.get(place)) {
        Some(route) => format!("route {:?} for {}", route.name, allowed(route)),
        None if config.routes.is_empty() => {
            "no routes, so every authenticated principal at forward-auth".to_owned()
        }
        None => "denied".to_owned(),
    }
}

fn allowed(route: &Route) -> String {
    match route.mode {
        Mode::Enforce => policy(&route.policy),
        Mode::Observe => "anyone, since it only observes".to_owned(),
    }
}

fn policy(policy: &Policy) -> String {
    match policy {
        Policy::Anyone => "anyone".to_owned(),
        Policy::Authenticated => "every authenticated principal".to_owned(),
        Policy::Allow(rules) => listed(rules),
        Policy::Except(of, rules) => format!("{} except {}", self::policy(of), listed(rules)),
        Policy::Capable(_) | Policy::Both(..) => "some principals".to_owned(),
    }
}

fn listed(rules: &[Rule]) -> String {
    let texts: Vec<_> = rules.iter().take(SHOWN).map(ToString::to_string).collect();
    match rules.len().saturating_sub(SHOWN) {
        0 => few(&texts),
        more => format!("{} and {more} more", few(&texts)),
    }
}
