//! The classes of hosts that two configurations distinguish.

use std::collections::{BTreeMap, BTreeSet};

use super::kept::Entry;
use super::position::Position;
use super::tree::Tree;
use crate::config::{HostPattern, PathPattern};

/// The routes of both configurations by host, and the classes of hosts.
#[derive(Debug)]
pub(super) struct Hosts {
    any: Tree,
    exact: BTreeMap<Box<str>, Tree>,
    /// For each domain, the routes of hosts with one label more, and those with one or more.
    domains: BTreeMap<Box<str>, [Tree; 2]>,
    classes: Vec<Class>,
    /// Whether a configuration has no routes, so that everything is compared.
    is_whole: bool,
    /// A segment without dots that no route names.
    pub(super) segment: Box<str>,
    /// Whether a route accepts `//` or `%2f`.
    pub(super) has_slashes: bool,
}

/// Hosts that the same routes match.
#[derive(Debug)]
pub(super) struct Class {
    index: usize,
    kind: Kind,
    /// One of the hosts.
    host: Box<str>,
    /// The class that its hosts would be in if no route named them or their domain.
    parent: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// All hosts that no route names.
    Others,
    /// This host.
    One(Box<str>),
    /// The hosts with one label more than the domain that no route names.
    OneLabel(Box<str>),
    /// The hosts with two or more labels more.
    Labels(Box<str>),
}

impl Class {
    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Returns the hosts for people, as if no narrower class existed.
    fn text(&self) -> String {
        match &self.kind {
            Kind::Others => "any host".to_owned(),
            Kind::One(host) => host.to_string(),
            Kind::OneLabel(domain) => format!("*.{domain}"),
            Kind::Labels(domain) => format!("**.*.{domain}"),
        }
    }
}

impl Hosts {
    pub(super) fn new(entries: &[Entry<'_>]) -> Self {
        let mut any = Tree::default();
        let mut exact: BTreeMap<Box<str>, Tree> = BTreeMap::new();
        let mut domains: BTreeMap<Box<str>, [Tree; 2]> = BTreeMap::new();
        let all = [PathPattern::all()];
        let mut longest = 0;
        for entry in entries {
            let route = entry.route;
            let paths = match route.paths.as_slice() {
                [] => all.as_slice(),
                paths => paths,
            };
            let lengths = paths.iter().flat_map(PathPattern::segments).map(str::len);
            longest = longest.max(lengths.max().unwrap_or_default());
            let add = |tree: &mut Tree| paths.iter().for_each(|path| tree.add(entry, path));
            if route.hosts.is_empty() {
                add(&mut any);
            }
            for host in &route.hosts {
                let domain: Box<str> = host.domain().into();
                match host {
                    HostPattern::Exact(_) => add(exact.entry(domain).or_default()),
                    HostPattern::OneLabel(_) => {
                        let [one, _] = domains.entry(domain).or_default();
                        add(one);
                    }
                    HostPattern::Labels(_) => {
                        let [_, more] = domains.entry(domain).or_default();
                        add(more);
                    }
                }
            }
        }
        let of_domains = domains.values_mut().flatten();
        for tree in exact.values_mut().chain(of_domains).chain([&mut any]) {
            tree.finish();
        }
        let is_on = |side: usize| {
            let mut on = entries.iter().map(|entry| entry.places);
            on.any(|places| places.get(side) != Some(&super::kept::NOWHERE))
        };
        let mut routes = entries.iter().map(|entry| entry.route);
        let mut hosts = Self {
            any,
            exact,
            domains,
            classes: Vec::new(),
            is_whole: is_on(0) != is_on(1),
            // Longer than every segment, so it is none of them.
            segment: format!("other{}", "-other".repeat(longest / 6 + 1)).into(),
            // Without routes, forward-auth permits every path.
            has_slashes: is_on(0) != is_on(1)
                || routes.any(|route| route.allow_double_slash || route.allow_encoded_slash),
        };
        hosts.classes = hosts.find_classes();
        hosts
    }

    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Returns the position before the first segment, in the paths of all routes that match a host.
    pub(super) fn position(&self, host: &str) -> Position<'_> {
        let mut trees = vec![&self.any];
        trees.extend(self.exact.get(host));
        for (nth, (dot, _)) in host.match_indices('.').enumerate() {
            let domain = host.get(dot + 1..).and_then(|it| self.domains.get(it));
            if let Some([one, more]) = domain {
                trees.push(more);
                if nth == 0 {
                    trees.push(one);
                }
            }
        }
        let states = trees.into_iter().flat_map(Tree::roots);
        Position::new(states.collect(), self.is_whole)
    }

    fn find_classes(&self) -> Vec<Class> {
        let label = self.free_label();
        let mut kinds = vec![(Kind::Others, label.clone())];
        for domain in self.domains.keys() {
            let first = format!("{label}.{domain}");
            let second = format!("{label}.{first}");
            kinds.push((Kind::OneLabel(domain.clone()), first.into()));
            kinds.push((Kind::Labels(domain.clone()), second.into()));
        }
        let domains = self.domains.keys().enumerate();
        // The class of hosts with one label more; the next one is that of hosts with more labels.
        let places: BTreeMap<&str, usize> = domains
            .map(|(at, domain)| (&**domain, 1 + 2 * at))
            .collect();
        let parent = |host: &str, is_domain: bool| {
            let dots = host.match_indices('.').enumerate();
            let mut found = dots.filter_map(|(nth, (dot, _))| {
                let place = places.get(host.get(dot + 1..)?)?;
                Some(place + usize::from(nth > 0 || is_domain))
            });
            found.next().unwrap_or(0)
        };
        kinds.extend(
            self.exact
                .keys()
                .map(|host| (Kind::One(host.clone()), host.clone())),
        );
        let classes = kinds.into_iter().enumerate().map(|(index, (kind, host))| {
            let parent = match &kind {
                Kind::Others => None,
                Kind::One(host) => Some(parent(host, false)),
                Kind::OneLabel(domain) | Kind::Labels(domain) => Some(parent(domain, true)),
            };
            Class {
                index,
                kind,
                host,
                parent,
            }
        });
        classes.collect()
    }

    /// Returns a label that is in no host.
    fn free_label(&self) -> Box<str> {
        let names = self.exact.keys().chain(self.domains.keys());
        let taken: BTreeSet<&str> = names.flat_map(|name| name.split('.')).collect();
        let labels = (0_u32..).map(|number| match number {
            0 => "other".to_owned(),
            number => format!("other-{number}"),
        });
        let mut free = labels.filter(|label| !taken.contains(&**label));
        free.next().unwrap_or_default().into()
    }

    /// Describes some classes by the widest hosts, and the hosts among these that are not meant.
    pub(super) fn described(&self, meant: &BTreeSet<usize>) -> (Vec<String>, Vec<String>) {
        let is_meant = |index: Option<usize>| index.is_some_and(|index| meant.contains(&index));
        let mut included = Vec::new();
        for class in meant.iter().filter_map(|index| self.classes.get(*index)) {
            if !is_meant(class.parent) {
                included.push(class);
            }
        }
        let is_wide = |class: &&Class| !matches!(class.kind, Kind::One(_));
        let excluded = match included.iter().any(is_wide) {
            true => {
                let classes = self.classes.iter();
                let excluded =
                    classes.filter(|class| !meant.contains(&class.index) && is_meant(class.parent));
                excluded.collect()
            }
            false => Vec::new(),
        };
        (texts(&included), texts(&excluded))
    }
}

/// Returns the hosts of some classes. Both classes of a domain are one text.
fn texts(classes: &[&Class]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut classes = classes.iter().peekable();
    while let Some(class) = classes.next() {
        let next = classes.peek().map(|next| &next.kind);
        texts.push(match (&class.kind, next) {
            (Kind::OneLabel(one), Some(Kind::Labels(more))) if one == more => {
                classes.next();
                format!("**.{one}")
            }
            _ => class.text(),
        });
    }
    texts
}
