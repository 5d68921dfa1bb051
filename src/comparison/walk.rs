//! Visits the classes of paths at a host.

use std::rc::Rc;

use super::changes::{Change, changes};
use super::hosts::Hosts;
use super::lines::{Extent, Line, Slashes};
use super::pairs::Pairs;
use super::position::Position;
use super::segments::segments;
use super::side::Side;
use crate::config::STAR;

/// A walk through the paths at one host.
pub(super) struct Walk<'a, 'b> {
    sides: &'b [Side<'a>; 2],
    pairs: &'b mut Pairs,
    hosts: &'b Hosts,
    host: &'b str,
    /// The number of steps that are left.
    left: &'b mut usize,
}

impl<'a, 'b> Walk<'a, 'b> {
    pub(super) fn new(
        sides: &'b [Side<'a>; 2],
        pairs: &'b mut Pairs,
        hosts: &'b Hosts,
        host: &'b str,
        left: &'b mut usize,
    ) -> Self {
        Self {
            sides,
            pairs,
            hosts,
            host,
            left,
        }
    }

    /// Returns what is opened, closed and changed; `None` if it takes too many steps.
    pub(super) fn run(&mut self) -> Option<Vec<Line>> {
        let hosts = self.hosts;
        self.visit(&hosts.position(self.host), "")
    }

    /// Visits a path and all below it. The paths of the lines are relative to it.
    fn visit(&mut self, position: &Position<'_>, path: &str) -> Option<Vec<Line>> {
        *self.left = self.left.checked_sub(1)?;
        if !position.may_differ() {
            return Some(Vec::new());
        }
        let (alone, slashed) = match position.may_differ_here() {
            true => self.alone(path)?,
            false => (Rc::default(), Vec::new()),
        };
        let all = position.may_differ_after_any();
        let other = match all {
            true => self.other(position, path)?,
            false => Vec::new(),
        };
        let is_uniform = other.iter().all(Line::is_uniform);
        let mut found = Vec::new();
        for segment in segments(position, &self.hosts.segment, all) {
            let next = position.after(&segment.text);
            let lines = self.visit(&next, &format!("{path}/{}", segment.text))?;
            found.push((segment, lines));
        }
        let wide: Vec<_> = found.iter().filter(|it| it.0.is_wide()).collect();
        // Each segment is compared with the wider ones, and its lines with those of the others.
        let lines: usize = found.iter().map(|(_, lines)| lines.len()).sum();
        let steps = found.len() * (wide.len() + other.len()) + lines;
        *self.left = self.left.checked_sub(steps)?;
        let (mut differing, mut inner) = (Vec::new(), Vec::new());
        for (segment, lines) in &found {
            let is_other = *lines == other;
            let mut wider = wide.iter().filter(|it| it.0.includes(segment));
            // One that is like all others, but not like a wider class, needs lines of its own.
            if is_other && !wider.any(|(_, lines)| *lines != other) {
                continue;
            }
            let more = match (is_other, exceptions(&other, lines)) {
                (true, _) => lines.clone(),
                (false, Some((except, more))) if is_uniform => {
                    let marked = segment.marked();
                    differing.extend(except.iter().map(|path| below(&marked, path)));
                    more
                }
                (false, _) => {
                    differing.push(segment.marked());
                    lines.clone()
                }
            };
            let except: Rc<[String]> = match segment.start().is_some() {
                true => {
                    let narrower = found
                        .iter()
                        .filter(|(it, of)| segment.includes(it) && of != lines);
                    narrower.map(|(it, _)| it.marked()).collect()
                }
                false => Rc::default(),
            };
            let shown: Rc<str> = segment.marked().into();
            let more = more.into_iter();
            inner.extend(more.map(|line| line.below(&shown, &except)));
        }
        let differing: Rc<[String]> = differing.into();
        let mut lines = Vec::new();
        let plain = other.iter().find(|line| line.slashes == Slashes::Plain);
        let is_same = match plain {
            Some(plain) => plain.changes == alone,
            None => alone.is_empty(),
        };
        if is_uniform && is_same {
            let all = Extent::All(Rc::clone(&differing));
            lines.extend(other.into_iter().map(|line| line.with_extent(all.clone())));
            // What is said of all paths below is said of this one too.
            let is_said = |line: &Line| {
                let like = |it: &Line| it.slashes == line.slashes && it.changes == line.changes;
                lines.iter().any(like)
            };
            let more: Vec<_> = slashed.into_iter().filter(|it| !is_said(it)).collect();
            lines.extend(more);
        } else {
            if !alone.is_empty() {
                lines.push(Line::new(Extent::Alone, Slashes::Plain, alone));
            }
            lines.extend(slashed);
            let any: Rc<str> = STAR.into();
            let other = other.into_iter();
            lines.extend(other.map(|line| line.below(&any, &differing)));
        }
        lines.append(&mut inner);
        Some(lines)
    }

    /// Compares the decisions about a path alone, and about its spellings with `//` and `%2f` where
    /// they differ from those about the path.
    fn alone(&mut self, path: &str) -> Option<(Rc<[Change]>, Vec<Line>)> {
        let plain = self.at(if path.is_empty() { "/" } else { path })?;
        let mut spellings = Vec::new();
        if self.hosts.has_slashes
            && let Some((above, last)) = path.rsplit_once('/').filter(|it| !it.0.is_empty())
        {
            spellings.push((Slashes::Double, format!("{above}//{last}")));
            spellings.push((Slashes::Encoded, format!("{above}%2f{last}")));
            if let Some((first, middle)) = above.rsplit_once('/').filter(|it| !it.0.is_empty()) {
                spellings.push((Slashes::Both, format!("{first}//{middle}%2f{last}")));
            }
        }
        let mut lines = Vec::new();
        for (slashes, path) in spellings {
            let found = self.at(&path)?;
            if !found.is_empty() && !same(&plain, &found) {
                lines.push(Line::new(Extent::Alone, slashes, found));
            }
        }
        Some((plain, lines))
    }

    /// Visits the paths whose next segment no route names.
    fn other(&mut self, position: &Position<'_>, path: &str) -> Option<Vec<Line>> {
        let segment = &*self.hosts.segment;
        let next = position.after(segment);
        let inner = format!("{path}/{segment}");
        if !next.is_last() || !next.may_differ() {
            return self.visit(&next, &inner);
        }
        // The same routes match everything below.
        let mut paths = vec![(Slashes::Plain, inner.clone())];
        if self.hosts.has_slashes {
            paths.push((Slashes::Double, format!("{path}//{segment}")));
            paths.push((Slashes::Encoded, format!("{inner}%2f{segment}")));
            paths.push((Slashes::Both, format!("{path}//{segment}%2f{segment}")));
        }
        let mut lines: Vec<Line> = Vec::new();
        for (slashes, path) in paths {
            let found = self.at(&path)?;
            let is_said = lines
                .first()
                .is_some_and(|plain| same(&plain.changes, &found));
            if !found.is_empty() && !is_said {
                lines.push(Line::new(Extent::All(Rc::default()), slashes, found));
            }
        }
        Some(lines)
    }

    /// Compares the decisions about an undecoded path.
    fn at(&mut self, path: &str) -> Option<Rc<[Change]>> {
        let place = (self.host, path);
        Some(changes(self.sides, self.pairs, self.left, place)?.into())
    }
}

/// Returns the exceptions of lines that otherwise say the same as those of all other segments, and
/// the lines that say more. The exception of the path itself is `=`.
fn exceptions(other: &[Line], lines: &[Line]) -> Option<(Vec<String>, Vec<Line>)> {
    let (first, rest) = lines.split_at_checked(other.len())?;
    let (except, is_whole) = first.first()?.exceptions()?;
    let mut both = first.iter().zip(other);
    let is_same = both.all(|(line, other)| {
        line.exceptions() == Some((except, is_whole))
            && (line.slashes, &line.changes) == (other.slashes, &other.changes)
    });
    let is_more = |line: &Line| line.exceptions().is_some();
    if !is_same || rest.iter().any(is_more) {
        return None;
    }
    let itself = (!is_whole).then(|| "=".to_owned());
    let except = itself.into_iter().chain(except.iter().cloned());
    Some((except.collect(), rest.to_vec()))
}

/// Returns the path below a segment. Exact paths begin with `=`.
fn below(segment: &str, path: &str) -> String {
    match path.strip_prefix('=') {
        Some("") => format!("={segment}"),
        Some(path) => format!("={segment}/{path}"),
        None => format!("{segment}/{path}"),
    }
}

/// Returns whether the same is opened, closed and changed, by whichever routes.
fn same(one: &[Change], other: &[Change]) -> bool {
    let key = |change: &Change| {
        let Change { pair, effects, .. } = change;
        (
            change.methods.clone(),
            change.clients.clone(),
            *pair,
            *effects,
        )
    };
    one.len() == other.len() && one.iter().map(key).eq(other.iter().map(key))
}
