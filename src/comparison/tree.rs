//! The paths of routes, in a tree of segments.

use std::collections::BTreeMap;

use super::kept::{Entry, NOWHERE, Places};
use crate::config::{PathPattern, STAR};

/// The paths that the routes of both configurations have at some hosts.
#[derive(Debug, Default)]
pub(super) struct Tree {
    plain: Node,
    /// The paths that match in any case, in lower case.
    folded: Node,
}

/// The routes whose path ends at a place, and the segments that follow.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) named: BTreeMap<Box<str>, Node>,
    pub(super) star: Option<Box<Node>>,
    pub(super) ends: Vec<End>,
    /// The routes that also match with a suffix at the last segment.
    pub(super) suffixed: Vec<End>,
    /// The first changed route of each configuration whose path ends here or below.
    pub(super) first_changed: Places,
    /// The named segments with changed routes.
    pub(super) changed: Vec<Box<str>>,
    /// The named segments that are not in lower case.
    pub(super) raised: Vec<Box<str>>,
}

/// A route whose path ends at a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) places: Places,
    pub(super) is_changed: bool,
    /// Whether the route matches nothing below its path.
    pub(super) is_exact: bool,
    /// Whether the route matches every method and client.
    pub(super) is_total: bool,
}

impl Tree {
    /// Adds a path of a route.
    pub(super) fn add(&mut self, entry: &Entry<'_>, path: &PathPattern) {
        let route = entry.route;
        let mut node = match route.ignore_case {
            true => &mut self.folded,
            false => &mut self.plain,
        };
        for segment in path.segments() {
            let segment = match route.ignore_case {
                true => segment.to_ascii_lowercase(),
                false => segment.to_owned(),
            };
            node = match &*segment {
                STAR => node.star.get_or_insert_default(),
                _ => node.named.entry(segment.into()).or_default(),
            };
        }
        let end = End {
            places: entry.places,
            is_changed: entry.is_changed,
            is_exact: path.is_exact(),
            is_total: route.methods.is_none() && route.from.is_none(),
        };
        node.ends.push(end);
        let ends_with_star = path.segments().last() == Some(STAR);
        if route.ignore_suffix && !ends_with_star && !path.text().is_empty() {
            node.suffixed.push(end);
        }
    }

    /// Prepares the tree, after all paths have been added.
    pub(super) fn finish(&mut self) {
        self.plain.finish();
        self.folded.finish();
    }

    /// Returns the roots of the paths that match as written, and of those that match in any case.
    pub(super) fn roots(&self) -> [(&Node, bool); 2] {
        [(&self.plain, false), (&self.folded, true)]
    }
}

impl Node {
    fn finish(&mut self) {
        let mut first = [NOWHERE; 2];
        for end in self.ends.iter().filter(|end| end.is_changed) {
            first = least(first, end.places);
        }
        if let Some(star) = &mut self.star {
            star.finish();
            first = least(first, star.first_changed);
        }
        for (name, node) in &mut self.named {
            node.finish();
            first = least(first, node.first_changed);
            if node.first_changed != [NOWHERE; 2] {
                self.changed.push(name.clone());
            }
            if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                self.raised.push(name.clone());
            }
        }
        self.first_changed = first;
    }

    /// Returns whether the same routes match all paths below.
    pub(super) fn is_last(&self) -> bool {
        let is_exact = |end: &End| end.is_exact;
        self.named.is_empty() && self.star.is_none() && !self.ends.iter().any(is_exact)
    }
}

/// Returns the lesser place in each configuration.
pub(super) fn least(one: Places, other: Places) -> Places {
    let ([old, new], [other_old, other_new]) = (one, other);
    [old.min(other_old), new.min(other_new)]
}
