//! A place in the paths of all routes that match a host.

use super::kept::{NOWHERE, Places};
use super::tree::{End, Node, least};

/// A node of a tree, and whether its paths match in any case.
pub(super) type State<'a> = (&'a Node, bool);

/// The nodes at a path, and what is known of the routes that match there.
#[derive(Clone, Debug)]
pub(super) struct Position<'a> {
    pub(super) states: Vec<State<'a>>,
    /// The first changed route that matches everything at the path and below, whatever the method
    /// and client.
    touched: Places,
    /// The same for routes that match only the path itself.
    here: Places,
    /// The first kept route that matches every request at the path and below.
    settled: Places,
    /// Whether everything is compared.
    is_whole: bool,
}

impl<'a> Position<'a> {
    /// Begins at the roots of some trees.
    pub(super) fn new(states: Vec<State<'a>>, is_whole: bool) -> Self {
        let mut position = Self {
            states: Vec::new(),
            touched: [NOWHERE; 2],
            here: [NOWHERE; 2],
            settled: [NOWHERE; 2],
            is_whole,
        };
        for (node, is_folded) in states {
            position.enter(node, is_folded);
        }
        position
    }

    /// Returns the position after a segment, which is not empty.
    pub(super) fn after(&self, segment: &str) -> Self {
        let mut next = Self {
            states: Vec::with_capacity(self.states.len()),
            here: [NOWHERE; 2],
            ..*self
        };
        let lower = segment.to_ascii_lowercase();
        for (node, is_folded) in &self.states {
            let text = if *is_folded { &*lower } else { segment };
            if let Some(node) = node.named.get(text) {
                next.enter(node, *is_folded);
            }
            if let Some(node) = &node.star {
                next.enter(node, *is_folded);
            }
            for (dot, _) in text.match_indices('.') {
                let named = text.get(..dot).and_then(|name| node.named.get(name));
                for end in named.iter().flat_map(|node| &node.suffixed) {
                    next.add(end);
                }
            }
        }
        next
    }

    fn enter(&mut self, node: &'a Node, is_folded: bool) {
        node.ends.iter().for_each(|end| self.add(end));
        self.states.push((node, is_folded));
    }

    fn add(&mut self, end: &End) {
        match (end.is_changed, end.is_exact) {
            (true, true) => self.here = least(self.here, end.places),
            (true, false) => self.touched = least(self.touched, end.places),
            (false, false) if end.is_total => self.settled = least(self.settled, end.places),
            (false, _) => {}
        }
    }

    /// Returns whether a request at the path or below may be decided differently.
    pub(super) fn may_differ(&self) -> bool {
        let below = self.states.iter().map(|(node, _)| node.first_changed);
        let changed = below.fold(least(self.touched, self.here), least);
        self.is_whole || (changed != [NOWHERE; 2] && !self.is_settled(changed))
    }

    /// Returns whether a kept route matches everything here, before all changed routes.
    fn is_settled(&self, changed: Places) -> bool {
        let ([old, new], [changed_old, changed_new]) = (self.settled, changed);
        old < changed_old && new < changed_new
    }

    /// Returns whether a request at the path itself may be decided differently.
    pub(super) fn may_differ_here(&self) -> bool {
        let changed = least(self.touched, self.here);
        self.is_whole || (changed != [NOWHERE; 2] && !self.is_settled(changed))
    }

    /// Returns whether a changed route matches all segments that follow.
    pub(super) fn may_differ_after_any(&self) -> bool {
        let mut stars = self
            .states
            .iter()
            .filter_map(|(node, _)| node.star.as_ref());
        self.is_whole
            || self.touched != [NOWHERE; 2]
            || stars.any(|star| star.first_changed != [NOWHERE; 2])
    }

    /// Returns whether the same routes match all paths below.
    pub(super) fn is_last(&self) -> bool {
        self.states.iter().all(|(node, _)| node.is_last())
    }
}
