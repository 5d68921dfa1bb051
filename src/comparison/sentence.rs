//! Describes what is opened, closed and changed in sentences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::callers::Who;
use super::changes::{Clients, Methods};
use super::effects::{EffectId, Effects};
use super::hosts::Hosts;
use super::lines::{Line, Slashes};
use super::pairs::{PairId, Pairs};
use super::words::{clients_text, few_callers, methods_text, name, route, texts, with_exceptions};
use crate::config::Config;

/// What a change of the configuration opens, closes and changes.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    /// The most important first.
    pub opens: Vec<Item>,
    /// The most important first.
    pub closes: Vec<Item>,
    /// Requests that the same callers may make, and that go elsewhere or are responded to
    /// differently. The most important first.
    pub changes: Vec<Item>,
    /// The number of items beyond the limit, which are the least important ones.
    pub omitted: Counts,
}

/// The number of items of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Those about what is opened.
    pub opens: usize,
    /// Those about what is closed.
    pub closes: usize,
    /// Those about what is changed.
    pub changes: usize,
}

impl Counts {
    /// Returns the number of all items.
    pub fn sum(self) -> usize {
        self.opens + self.closes + self.changes
    }
}

impl Comparison {
    /// Returns whether both configurations do the same with all requests.
    pub fn is_empty(&self) -> bool {
        self.counts().sum() == 0
    }

    /// Returns the number of items, with those that are omitted.
    pub fn counts(&self) -> Counts {
        Counts {
            opens: self.opens.len() + self.omitted.opens,
            closes: self.closes.len() + self.omitted.closes,
            changes: self.changes.len() + self.omitted.changes,
        }
    }

    /// Returns the items, first those about what is opened, then closed, then changed.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.opens.iter().chain(&self.closes).chain(&self.changes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Opens,
    Closes,
    Changes,
}

/// Requests that are opened, closed or changed. `Display` writes one sentence.
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
    /// The callers for whom it is opened or closed; none if it is changed.
    pub who: Vec<String>,
    /// What is changed, such as the upstream; none if it is opened or closed.
    pub effects: Vec<String>,
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    kind: Kind,
    /// The policies, if it is about them.
    pair: Option<PairId>,
    methods: Methods,
    clients: Clients,
    routes: [Option<usize>; 2],
    /// The effects, if it is about them.
    effects: Option<[EffectId; 2]>,
    slashes: Slashes,
}

/// A path, and the paths that are not meant.
type Paths = (String, Vec<String>);

/// What describes the differences.
#[derive(Clone, Copy)]
pub(super) struct Described<'a> {
    pub(super) hosts: &'a Hosts,
    pub(super) pairs: &'a Pairs,
    pub(super) effects: &'a Effects,
    pub(super) sides: [&'a Config; 2],
    /// The maximum number of items of each kind.
    pub(super) most: usize,
}

/// Describes the lines of each class of hosts.
pub(super) fn comparison(found: Vec<(usize, Vec<Line>)>, by: Described<'_>) -> Comparison {
    let mut by_path: BTreeMap<(Common, Paths), BTreeSet<usize>> = BTreeMap::new();
    for (host, lines) in found {
        for line in lines {
            let paths = (line.path(), line.except());
            for change in line.changes.iter() {
                let admitted = change.pair.and_then(|pair| by.pairs.get(pair));
                let is_about = [
                    (Kind::Opens, admitted.is_some_and(|it| !it.0.is_empty())),
                    (Kind::Closes, admitted.is_some_and(|it| !it.1.is_empty())),
                    (Kind::Changes, change.effects.is_some()),
                ];
                for (kind, _) in is_about.into_iter().filter(|(_, is_about)| *is_about) {
                    let is_effect = kind == Kind::Changes;
                    let common = Common {
                        kind,
                        pair: change.pair.filter(|_| !is_effect),
                        methods: change.methods.clone(),
                        clients: change.clients.clone(),
                        routes: change.routes,
                        effects: change.effects.filter(|_| is_effect),
                        slashes: line.slashes,
                    };
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
    let [mut opens, mut closes, mut changes] = [const { Vec::<(Rank, Found)>::new() }; 3];
    for ((common, classes, except), paths) in by_hosts {
        let depth = paths.iter().map(|path| path.matches('/').count());
        let depth = depth.min().unwrap_or_default();
        let rank = (rank(&common, by), common.slashes, depth);
        let found = match common.kind {
            Kind::Opens => &mut opens,
            Kind::Closes => &mut closes,
            Kind::Changes => &mut changes,
        };
        found.push((rank, (common, classes, except, paths)));
    }
    let mut omitted = [0; 3];
    let mut left_out = omitted.iter_mut();
    let [opens, closes, changes] = [opens, closes, changes].map(|mut found| {
        found.sort_by(|(rank, found), (other_rank, other)| {
            (rank, &found.3).cmp(&(other_rank, &other.3))
        });
        if let Some(left_out) = left_out.next() {
            *left_out = found.len().saturating_sub(by.most);
        }
        found.truncate(by.most);
        let items = found
            .into_iter()
            .map(|(rank, found)| (rank, item(found, by)));
        let mut items: Vec<_> = items.collect();
        items.sort_by(|(rank, item), (other_rank, other)| {
            (rank, &item.sentence).cmp(&(other_rank, &other.sentence))
        });
        items.into_iter().map(|(_, item)| item).collect()
    });
    let [of_opens, of_closes, of_changes] = omitted;
    Comparison {
        opens,
        closes,
        changes,
        omitted: Counts {
            opens: of_opens,
            closes: of_closes,
            changes: of_changes,
        },
    }
}

/// How important a sentence is: the lower, the more. Shorter paths come first.
type Rank = (u8, Slashes, usize);

/// The classes of hosts, the paths that are not meant, and the paths of a sentence.
type Found = (Common, BTreeSet<usize>, Vec<String>, Vec<String>);

/// Returns the rank: the lower, the more important.
fn rank(common: &Common, by: Described<'_>) -> u8 {
    match common.effects {
        Some(effects) => by.effects.rank(effects),
        None => {
            let ranks = who(common, by).iter().map(Who::rank);
            ranks.min().unwrap_or(u8::MAX)
        }
    }
}

/// Returns the callers for whom it is opened or closed.
fn who<'a>(common: &Common, by: Described<'a>) -> &'a [Who] {
    let admitted = common.pair.and_then(|pair| by.pairs.get(pair));
    match (common.kind, admitted) {
        (Kind::Opens, Some((opened, _))) => opened,
        (Kind::Closes, Some((_, closed))) => closed,
        _ => &[],
    }
}

fn item((common, classes, except_paths, paths): Found, by: Described<'_>) -> Item {
    let [old, new] = by.sides;
    let who: Vec<_> = who(&common, by).iter().map(ToString::to_string).collect();
    let effects = common.effects.map(|ids| by.effects.differences(ids));
    let effects = effects.unwrap_or_default();
    let (hosts, except_hosts) = by.hosts.described(&classes);
    let [old_place, new_place] = common.routes;
    let (before, now) = (route(old, old_place), route(new, new_place));
    let verb = match common.kind {
        Kind::Opens => "opens",
        Kind::Closes => "closes",
        Kind::Changes => "changes",
    };
    let slashes = match common.slashes {
        Slashes::Plain => "",
        Slashes::Double => " with //",
        Slashes::Encoded => " with %2f",
        Slashes::Both => " with // and %2f",
    };
    let callers = match common.kind {
        Kind::Opens => format!(" to {}", few_callers(&who)),
        Kind::Closes => format!(" for {}", few_callers(&who)),
        Kind::Changes => String::new(),
    };
    let (old_name, new_name) = (name(old, old_place), name(new, new_place));
    let what = match common.kind {
        Kind::Opens | Kind::Closes => format!("before {before}, now {now}"),
        Kind::Changes if old_name == new_name => format!("{new_name}: {}", effects.join("; ")),
        Kind::Changes => format!("before {old_name}, now {new_name}: {}", effects.join("; ")),
    };
    let sentence = format!(
        "{verb} {}{slashes} on {}{callers}{}{}: {what}",
        with_exceptions(&paths, &except_paths),
        with_exceptions(&hosts, &except_hosts),
        methods_text(&common.methods),
        clients_text(&common.clients),
    );
    let (methods, except_methods) = match common.methods {
        Methods::Any => (None, Vec::new()),
        Methods::These(methods) => (Some(methods), Vec::new()),
        Methods::Except(methods) => (None, methods),
    };
    let (from, unknown_address) = match &common.clients {
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
        effects,
        before,
        now,
        sentence,
    }
}
