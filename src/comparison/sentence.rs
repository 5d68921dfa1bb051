//! Describes what is opened and closed in sentences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;
use serde::Serialize;

use super::callers::Who;
use super::changes::{Clients, Methods};
use super::hosts::Hosts;
use super::lines::{Line, Slashes};
use super::pairs::{PairId, Pairs};
use crate::auth::{Mode, Policy, Rule};
use crate::config::{Config, Route};

/// What a change of the routes opens and closes.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    /// The most important first.
    pub opens: Vec<Item>,
    /// The most important first.
    pub closes: Vec<Item>,
}

impl Comparison {
    /// Returns whether both configurations permit the same requests.
    pub fn is_empty(&self) -> bool {
        self.opens.is_empty() && self.closes.is_empty()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Opens,
    Closes,
}

/// Requests that are opened or closed, and for whom. `Display` writes one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The hosts; `*.example.org` and `**.example.org` as in a route, or "any host".
    pub hosts: Vec<String>,
    /// The hosts among these that are not meant.
    pub except_hosts: Vec<String>,
    /// The paths: `/a` and everything below it, `=/a` alone, `*` for any segment.
    pub paths: Vec<String>,
    /// The paths among these that are not meant, with everything below them.
    pub except_paths: Vec<String>,
    /// The methods; `None` for any.
    pub methods: Option<Vec<String>>,
    /// The methods that are not meant.
    pub except_methods: Vec<String>,
    /// The networks of the clients; `None` for any.
    pub from: Option<Vec<String>>,
    /// Whether clients whose address is unknown are meant.
    pub unknown_address: bool,
    /// The callers.
    pub who: Vec<String>,
    /// The deciding route before, and whom it allows.
    pub before: String,
    /// The deciding route after, and whom it allows.
    pub now: String,
    /// All of this.
    pub sentence: String,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// What the requests of a sentence have in common, besides hosts and paths.
type Common = (
    Direction,
    PairId,
    Methods,
    Clients,
    [Option<usize>; 2],
    Slashes,
);

/// A path, and the paths that are not meant.
type Paths = (String, Vec<String>);

/// Describes the lines of each class of hosts.
pub(super) fn comparison(
    found: Vec<(usize, Vec<Line>)>,
    hosts: &Hosts,
    pairs: &Pairs,
    sides: [&Config; 2],
) -> Comparison {
    let mut by_path: BTreeMap<(Common, Paths), BTreeSet<usize>> = BTreeMap::new();
    for (host, lines) in found {
        for line in lines {
            let paths = (line.path(), line.except());
            for change in line.changes.iter() {
                let Some((opened, closed)) = pairs.get(change.pair) else {
                    continue;
                };
                let opens = (Direction::Opens, opened);
                let directions = [opens, (Direction::Closes, closed)];
                for (direction, _) in directions.into_iter().filter(|(_, who)| !who.is_empty()) {
                    let common = (
                        direction,
                        change.pair,
                        change.methods.clone(),
                        change.clients.clone(),
                        change.routes,
                        line.slashes,
                    );
                    let key = (common, paths.clone());
                    by_path.entry(key).or_default().insert(host);
                }
            }
        }
    }
    // Paths without exceptions share a sentence.
    let mut by_hosts: BTreeMap<(Common, BTreeSet<usize>, Vec<String>), Vec<String>> =
        BTreeMap::new();
    for ((common, (path, except)), hosts) in by_path {
        let paths = by_hosts.entry((common, hosts, except)).or_default();
        paths.push(path);
    }
    let (mut opens, mut closes) = (Vec::new(), Vec::new());
    for ((common, classes, except), paths) in by_hosts {
        let Some((opened, closed)) = pairs.get(common.1) else {
            continue;
        };
        let (who, items) = match common.0 {
            Direction::Opens => (opened, &mut opens),
            Direction::Closes => (closed, &mut closes),
        };
        let rank = who.iter().map(Who::rank).min().unwrap_or(u8::MAX);
        let depth = paths.iter().map(|path| path.matches('/').count());
        let depth = depth.min().unwrap_or_default();
        let hosts = hosts.described(&classes);
        let item = item(&common, hosts, (paths, except), who, sides);
        items.push(((rank, common.5, depth), item));
    }
    let sorted = |mut items: Vec<(_, Item)>| {
        items.sort_by(|(rank, item), (other_rank, other)| {
            (rank, &item.sentence).cmp(&(other_rank, &other.sentence))
        });
        items.into_iter().map(|(_, item)| item).collect()
    };
    Comparison {
        opens: sorted(opens),
        closes: sorted(closes),
    }
}

fn item(
    common: &Common,
    (hosts, except_hosts): (Vec<String>, Vec<String>),
    (paths, except_paths): (Vec<String>, Vec<String>),
    who: &[Who],
    [old, new]: [&Config; 2],
) -> Item {
    let (direction, _, methods, clients, [before, now], slashes) = common;
    let who: Vec<_> = who.iter().map(ToString::to_string).collect();
    let (before, now) = (route(old, *before), route(new, *now));
    let verb = match direction {
        Direction::Opens => "opens",
        Direction::Closes => "closes",
    };
    let preposition = match direction {
        Direction::Opens => "to",
        Direction::Closes => "for",
    };
    let slashes = match slashes {
        Slashes::Plain => "",
        Slashes::Double => " with //",
        Slashes::Encoded => " with %2f",
        Slashes::Both => " with // and %2f",
    };
    let sentence = format!(
        "{verb} {}{slashes} on {} {preposition} {}{}{}: before {before}, now {now}",
        with_exceptions(&paths, &except_paths),
        with_exceptions(&hosts, &except_hosts),
        few_callers(&who),
        methods_text(methods),
        clients_text(clients),
    );
    let (methods, except_methods) = match methods {
        Methods::Any => (None, Vec::new()),
        Methods::These(methods) => (Some(methods.clone()), Vec::new()),
        Methods::Except(methods) => (None, methods.clone()),
    };
    let (from, unknown_address) = match clients {
        Clients::Any => (None, true),
        Clients::Some {
            inside, is_unknown, ..
        } => (Some(texts(inside)), *is_unknown),
    };
    Item {
        hosts,
        except_hosts,
        paths,
        except_paths,
        methods,
        except_methods,
        from,
        unknown_address,
        who,
        before,
        now,
        sentence,
    }
}

/// The maximum number of paths, hosts, networks or rules in a sentence.
const SHOWN: usize = 8;

/// Joins some texts, and says how many more there are.
fn few(texts: &[String]) -> String {
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
fn few_callers(texts: &[String]) -> String {
    match texts.iter().any(|text| text.contains(" except ")) {
        true => joined(texts, "; also "),
        false => few(texts),
    }
}

fn with_exceptions(texts: &[String], except: &[String]) -> String {
    match except.is_empty() {
        true => few(texts),
        false => format!("{} except {}", few(texts), few(except)),
    }
}

fn methods_text(methods: &Methods) -> String {
    match methods {
        Methods::Any => String::new(),
        Methods::These(methods) => format!(" with {}", few(methods)),
        Methods::Except(methods) => format!(" with methods other than {}", few(methods)),
    }
}

fn clients_text(clients: &Clients) -> String {
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

fn texts(networks: &[IpNet]) -> Vec<String> {
    networks.iter().map(IpNet::to_string).collect()
}

/// Describes a route and whom it allows.
fn route(config: &Config, place: Option<usize>) -> String {
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
    let texts: Vec<_> = rules.iter().map(ToString::to_string).collect();
    few(&texts)
}
