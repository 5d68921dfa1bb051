//! What is opened and closed at the paths of a host.

use std::rc::Rc;

use super::changes::Change;
use crate::config::STAR;

/// A class of paths, and what is opened and closed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The segments, the last one first.
    segments: Vec<Part>,
    pub(super) extent: Extent,
    pub(super) slashes: Slashes,
    pub(super) changes: Rc<[Change]>,
}

/// A segment of a class of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Named(Rc<str>),
    /// Any segment, or any with a suffix, such as `a.*`, but these.
    Any(Rc<str>, Rc<[String]>),
}

/// Which paths at the segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The path itself.
    Alone,
    /// The path and everything below it, but not below these segments.
    All(Rc<[String]>),
}

/// Whether the paths contain `//` or `%2f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slashes {
    Plain,
    Double,
    Encoded,
    Both,
}

impl Line {
    /// Makes a line for the path at a position.
    pub(super) fn new(extent: Extent, slashes: Slashes, changes: Rc<[Change]>) -> Self {
        Self {
            segments: Vec::new(),
            extent,
            slashes,
            changes,
        }
    }

    /// Returns whether the line is about all paths at a position and below.
    pub(super) fn is_uniform(&self) -> bool {
        matches!(self.exceptions(), Some((&[], true)))
    }

    /// Returns the paths below a position that the line is not about, and whether it is about the
    /// position itself. `None` if it is not about all others below.
    pub(super) fn exceptions(&self) -> Option<(&[String], bool)> {
        match (self.segments.as_slice(), &self.extent) {
            ([], Extent::All(except)) => Some((&**except, true)),
            ([Part::Any(shown, except)], Extent::All(more))
                if more.is_empty() && **shown == *STAR =>
            {
                Some((&**except, false))
            }
            _ => None,
        }
    }

    /// Returns the line with another extent.
    pub(super) fn with_extent(self, extent: Extent) -> Self {
        Self { extent, ..self }
    }

    /// Returns the line for the position before a segment.
    pub(super) fn below(mut self, shown: &Rc<str>, except: &Rc<[String]>) -> Self {
        self.segments
            .push(match except.is_empty() && **shown != *STAR {
                true => Part::Named(Rc::clone(shown)),
                false => Part::Any(Rc::clone(shown), Rc::clone(except)),
            });
        self
    }

    /// Returns the paths, as a configuration writes them: `/a` and all below it, `=/a` alone, and `*`
    /// for any segment.
    pub(super) fn path(&self) -> String {
        let exact = match self.extent {
            Extent::Alone => "=",
            Extent::All(_) => "",
        };
        format!("{exact}{}", self.joined(None, None))
    }

    /// Returns the paths that are not meant.
    pub(super) fn except(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for (at, part) in self.segments.iter().enumerate() {
            if let Part::Any(_, names) = part {
                paths.extend(names.iter().map(|name| self.joined(Some((at, name)), None)));
            }
        }
        if let Extent::All(names) = &self.extent {
            paths.extend(names.iter().map(|name| self.joined(None, Some(name))));
        }
        paths
    }

    /// Joins the segments, one of them replaced, and one more. An exact path begins with `=`.
    fn joined(&self, replaced: Option<(usize, &String)>, more: Option<&String>) -> String {
        let mut text = String::new();
        let mut add = |segment: &str| {
            let (exact, segment) = match segment.strip_prefix('=') {
                Some(segment) => ("=", segment),
                None => ("", segment),
            };
            text.insert_str(0, exact);
            text.push('/');
            text.push_str(segment);
        };
        for (at, part) in self.segments.iter().enumerate().rev() {
            add(match (part, replaced) {
                (_, Some((place, name))) if place == at => name.as_str(),
                (Part::Named(name) | Part::Any(name, _), _) => name,
            });
        }
        if let Some(more) = more {
            add(more);
        }
        if text.is_empty() {
            text.push('/');
        }
        text
    }
}
