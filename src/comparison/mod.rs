//! Compares what two configurations permit, over all requests and callers, and where they send the
//! requests.
//!
//! Requests that neither configuration tells apart are a class. Each class has one request that
//! stands for it, and the route tables of both configurations decide that request. Classes that no
//! changed route can match are skipped: the same routes match them in both, in the same order.

mod callers;
mod changes;
mod effects;
mod hosts;
mod kept;
mod lines;
mod pairs;
mod position;
mod segments;
mod sentence;
mod side;
mod tree;
mod walk;
mod words;

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::config::{Config, Route};
use effects::Effects;
use hosts::Hosts;
use lines::Line;
use pairs::Pairs;
use sentence::Described;
use side::Side;
use walk::Walk;

pub use sentence::{Comparison, Counts, Item};

/// Why two configurations cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CompareError {
    /// It takes more than this number of steps.
    #[error(
        "the routes cannot be compared in {0} steps: too many of them match the same hosts and paths"
    )]
    TooMany(usize),
    /// A path has too many segments.
    #[error("the routes cannot be compared: a path has more than {SEGMENTS} segments")]
    TooDeep,
}

/// The limits of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum number of steps. A step is about one route for one class of requests.
    pub steps: usize,
    /// The maximum number of items of each kind.
    pub items: usize,
}

/// The maximum number of steps of a command or a reload.
pub const STEPS: usize = 5_000_000;

/// The maximum number of segments of a path.
const SEGMENTS: usize = 256;

/// The differences at the hosts of a class, by its index.
type AtHost = (usize, Vec<Line>);

/// Compares what the routes of two configurations permit, and what they do with requests.
///
/// # Errors
/// [`CompareError`].
pub fn compare(old: &Config, new: &Config, limits: Limits) -> Result<Comparison, CompareError> {
    let depth = |route: &Route| route.paths.iter().map(|it| it.segments().count()).max();
    let mut routes = old.routes.iter().chain(&new.routes);
    if routes.any(|route| depth(route) > Some(SEGMENTS)) {
        return Err(CompareError::TooDeep);
    }
    let (mut pairs, mut effects) = (Pairs::default(), Effects::default());
    let sides = [old, new].map(|config| Side::new(config, &mut pairs, &mut effects));
    let entries = kept::entries(&sides);
    if !entries.iter().any(|entry| entry.is_changed) {
        return Ok(Comparison::default());
    }
    let hosts = Hosts::new(&entries);
    let found = differences(&sides, &mut pairs, &hosts, limits.steps)?;
    let by = Described {
        hosts: &hosts,
        pairs: &pairs,
        effects: &effects,
        sides: [old, new],
        most: limits.items,
    };
    Ok(sentence::comparison(found, by))
}

fn differences(
    sides: &[Side<'_>; 2],
    pairs: &mut Pairs,
    hosts: &Hosts,
    steps: usize,
) -> Result<Vec<AtHost>, CompareError> {
    let mut left = steps;
    let mut found = Vec::new();
    for class in hosts.classes() {
        let mut walk = Walk::new(sides, pairs, hosts, class.host(), &mut left);
        let lines = walk.run().ok_or(CompareError::TooMany(steps))?;
        if !lines.is_empty() {
            found.push((class.index(), lines));
        }
    }
    Ok(found)
}
