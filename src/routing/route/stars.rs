//! The routes whose path has a `*`, in a tree of segments.

use std::collections::HashMap;

use memchr::memchr;

use super::held::Held;

/// The root of the tree, if it has routes.
#[derive(Debug, Default)]
pub(super) struct Stars {
    root: Option<Box<Node>>,
}

/// The routes at a path, and the segments that follow. At most 64 deep.
#[derive(Debug, Default)]
pub(super) struct Node {
    named: HashMap<Box<[u8]>, Node>,
    star: Option<Box<Node>>,
    /// Whether a named segment also matches with a suffix such as `.json`.
    has_suffixed: bool,
    ends: Ends,
    /// The routes that also match with a suffix at the last segment.
    suffixed: Ends,
}

/// The routes whose path ends at a node.
#[derive(Debug, Default)]
struct Ends {
    prefixes: Option<Held>,
    /// Those that match a whole path only.
    whole: Option<Held>,
}

/// The maximum number of steps of a search among the possible matches.
const STEPS: usize = 1 << 14;

impl Stars {
    pub(super) const fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Adds a route with a path that begins with a slash and does not end with one. `hold` adds it
    /// to a list.
    pub(super) fn add(
        &mut self,
        path: &[u8],
        is_exact: bool,
        has_suffix: bool,
        hold: impl Fn(&mut Held),
    ) {
        let mut node = &mut **self.root.get_or_insert_default();
        for segment in path.split(|&byte| byte == b'/').skip(1) {
            node = if segment == b"*" {
                node.star.get_or_insert_default()
            } else {
                node.has_suffixed |= has_suffix;
                node.named.entry(segment.into()).or_default()
            };
        }
        hold(node.ends.at(is_exact));
        if has_suffix {
            hold(node.suffixed.at(is_exact));
        }
    }

    /// Calls `visit` with each list of routes that match the path.
    pub(super) fn visit<'a>(&'a self, path: &[u8], visit: &mut impl FnMut(&'a Held)) {
        if let Some(root) = &self.root {
            root.visit(path, visit);
        }
    }

    /// Calls `visit` with each list of routes that some server could match with a path whose
    /// segments servers count differently. `path` has everything decoded and dropped; the first
    /// `single` segments are the same number for every server. Returns whether all were visited.
    ///
    /// A segment that stands for `*` to some server has any number of segments here, and the end of
    /// the path may be missing for some server. Named segments are there in their order.
    pub(super) fn visit_possible<'a>(
        &'a self,
        path: &[u8],
        single: usize,
        visit: &mut impl FnMut(&'a Held),
    ) -> bool {
        let Some(root) = &self.root else {
            return true;
        };
        let segments: Vec<&[u8]> = path.split(|&byte| byte == b'/').skip(1).collect();
        let mut steps = 0;
        let mut left = vec![Possible {
            node: root,
            depth: 0,
            from: 0,
            is_after_star: false,
        }];
        while let Some(it) = left.pop() {
            let there = segments.get(it.from..).unwrap_or_default();
            let there = match it.is_after_star {
                true => there,
                false => there.get(..1).unwrap_or_default(),
            };
            steps += 1 + there.len();
            if steps > STEPS {
                return false;
            }
            let depth = it.depth + 1;
            left.extend(it.node.star.as_deref().map(|node| Possible {
                node,
                depth,
                from: it.from,
                is_after_star: true,
            }));
            it.node.ends.visit_possible(it.depth, single, visit);
            for (at, segment) in there.iter().enumerate() {
                left.extend(it.node.named.get(*segment).map(|node| Possible {
                    node,
                    depth,
                    from: it.from + at + 1,
                    is_after_star: false,
                }));
                it.node.each_suffixed(segment, |node| {
                    node.suffixed.visit_possible(depth, single, visit);
                });
            }
        }
        true
    }
}

/// A place in the tree that some server could reach.
struct Possible<'a> {
    node: &'a Node,
    /// The number of segments of its path.
    depth: usize,
    /// The index of the next segment.
    from: usize,
    /// Whether any number of segments may be between.
    is_after_star: bool,
}

impl Node {
    /// Visits the routes for the rest of a path, which is empty or begins with a slash.
    fn visit<'a>(&'a self, rest: &[u8], visit: &mut impl FnMut(&'a Held)) {
        self.ends.visit(rest, visit);
        let Some(rest) = rest.strip_prefix(b"/") else {
            return;
        };
        let end = memchr(b'/', rest).unwrap_or(rest.len());
        let (segment, rest) = rest.split_at_checked(end).unwrap_or((rest, b""));
        if let Some(node) = self.named.get(segment) {
            node.visit(rest, visit);
        }
        self.each_suffixed(segment, |node| node.suffixed.visit(rest, visit));
        if let Some(node) = self.star.as_ref().filter(|_| !segment.is_empty()) {
            node.visit(rest, visit);
        }
    }

    /// Calls `visit` with each next node whose segment, with a suffix, is `segment`.
    fn each_suffixed<'a>(&'a self, segment: &[u8], mut visit: impl FnMut(&'a Self)) {
        if !self.has_suffixed {
            return;
        }
        let is_dot = |at: &usize| segment.get(*at) == Some(&b'.');
        for dot in (0..segment.len()).filter(is_dot) {
            let name = segment.get(..dot).unwrap_or_default();
            self.named.get(name).into_iter().for_each(&mut visit);
        }
    }
}

impl Ends {
    fn at(&mut self, is_exact: bool) -> &mut Held {
        let held = match is_exact {
            true => &mut self.whole,
            false => &mut self.prefixes,
        };
        held.get_or_insert_default()
    }

    fn visit<'a>(&'a self, rest: &[u8], visit: &mut impl FnMut(&'a Held)) {
        self.prefixes.iter().for_each(&mut *visit);
        if rest.is_empty() {
            self.whole.iter().for_each(visit);
        }
    }

    fn visit_possible<'a>(&'a self, depth: usize, single: usize, visit: &mut impl FnMut(&'a Held)) {
        // A shorter prefix has the same segments for every server. A shorter whole path has fewer
        // segments than every server counts.
        if depth > single {
            self.prefixes.iter().for_each(&mut *visit);
        }
        if depth >= single {
            self.whole.iter().for_each(visit);
        }
    }
}
